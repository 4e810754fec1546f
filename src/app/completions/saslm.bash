# Completion of saslm's command lines in bash: source <(saslm completion bash)

_saslm() {
  # Bash splits words at "=" and ":"; the program gets them as they were typed.
  local typed=${COMP_LINE:0:COMP_POINT} words=() word i rest
  rest=$typed
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if ((i > 0)) && [[ $rest != [[:space:]]* && ${#words[@]} -gt 0 ]]; then
      words[${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
    rest=${rest#"${rest%%[![:space:]]*}"}
    rest=${rest#"$word"}
  done
  local current=${words[${#words[@]} - 1]} split=${COMP_WORDS[COMP_CWORD]}
  [[ $split == [=:] ]] && split=
  local before=${current%"$split"} program=${words[0]/#\~/$HOME}

  local line name
  COMPREPLY=()
  while IFS= read -r line; do
    name=${line%%$'\t'*}
    case $name in
      :files) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$split") ;;
      :folders) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$split") ;;
      *=) compopt -o nospace; COMPREPLY+=("${name#"$before"}") ;;
      *) COMPREPLY+=("${name#"$before"}") ;;
    esac
  done < <("$program" __complete "${words[@]:1}" 2>/dev/null)
}

complete -F _saslm saslm
