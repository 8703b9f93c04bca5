# shellcheck shell=bash
# Sourced by egs/*/run.sh with the recipe's own options, paths in the array `own`, others in `own_values` (may be
# unset): takes those out of "$@", exports each (--some-dir in some_dir; paths are made absolute), leaves the other
# options in the array `rest`, and goes to the recipe's folder. `--help` prints help_message, then the help of the main
# run.sh. What was typed is kept in recipe_command.
_recipe=$(cd "$(dirname "$0")" && pwd)
recipe_command=$(printf "%q " "egs/$(basename "$_recipe")/run.sh" "$@")
export recipe_command
rest=()
while [ $# -gt 0 ]; do
  if [ "$1" = --help ] || [ "$1" = -h ]; then
    printf '%s\n\n' "${help_message:-}"
    exec "$_recipe/../../run.sh" --help
  fi
  # shellcheck disable=SC2154 # own is set by the recipe
  case ${1:+" ${own[*]} ${own_values[*]-} "} in # (an empty value is not an option's name)
    *" ${1%%=*} "*)
      _name=${1%%=*} _value=${1#*=}
      if [[ $1 != *=* ]]; then
        if [ $# -lt 2 ]; then
          echo "$0: error: option $1 needs a value; see $0 --help" >&2
          exit 2
        fi
        _value=$2
        shift
      fi
      if [[ " ${own[*]} " = *" $_name "* ]]; then
        # A path counts from where the user is, or else from the recipe.
        [ -e "$_value" ] || _value=$(cd "$_recipe" && realpath -m -- "$_value")
        if [ ! -e "$_value" ]; then
          echo "$0: error: $_name $_value: no such file or folder" >&2
          exit 2
        fi
        _value=$(realpath -- "$_value")
      fi
      _name=${_name#--}
      declare -x "${_name//-/_}=$_value"
      ;;
    *) rest+=("$1") ;;
  esac
  shift
done
cd "$_recipe" || exit 1
unset _name _value _recipe
