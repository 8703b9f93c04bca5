# shellcheck shell=bash
# Where jobs run. Each command takes Kaldi's form:  $cmd JOB=1:4 log/x.JOB.log command --job JOB/4
#   this machine:  run.py          Slurm:  slurm.py --partition=cpu        (Kaldi's own run.pl and slurm.pl fit too)
export cpu_cmd=${cpu_cmd:-"$I2S_ROOT/utils/run.py"}
export gpu_cmd=${gpu_cmd:-"$I2S_ROOT/utils/run.py"}
