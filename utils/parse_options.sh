# shellcheck shell=bash
# Sourced after a script has set its defaults: `--some-name value` sets the variable some_name, which must exist.
# `--help` prints the variable help_message; an unknown option is an error. What is left over stays in "$@".
# What counts in every script (--stage, --stop-stage, --nj, --ngpu) must be a whole number, of jobs one at least.
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      printf '%s\n' "${help_message:-no help for $0}"
      exit 0
      ;;
    --)
      shift
      break
      ;;
    --*)
      _name=${1#--}
      _value=
      case $_name in *=*) _value=${_name#*=} _name=${_name%%=*} _joined=true ;; *) _joined=false ;; esac
      if [[ ! $_name =~ ^[a-z0-9]+(-[a-z0-9]+)*$ ]] || ! declare -p "${_name//-/_}" >/dev/null 2>&1; then
        echo "$0: error: unknown option $1; see $0 --help" >&2
        exit 2
      fi
      if [ "$_joined" = false ]; then
        if [ $# -lt 2 ]; then
          echo "$0: error: option $1 needs a value; see $0 --help" >&2
          exit 2
        fi
        _value=$2
        shift
      fi
      _least=
      case $_name in stage | stop-stage | ngpu) _least=0 ;; nj) _least=1 ;; esac
      if [ -n "$_least" ] && { [[ ! $_value =~ ^(0|[1-9][0-9]{0,5})$ ]] || [ "$_value" -lt "$_least" ]; }; then
        echo "$0: error: --$_name $_value: expected a whole number, $_least or more" >&2
        exit 2
      fi
      printf -v "${_name//-/_}" %s "$_value"
      shift
      ;;
    *) break ;;
  esac
done
unset _name _value _joined _least
