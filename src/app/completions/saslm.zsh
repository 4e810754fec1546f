#compdef saslm
# Completion of saslm's command lines in zsh: source <(saslm completion zsh), after compinit

_saslm() {
  local program=${(Q)words[1]} line name what
  program=${program/#\~/$HOME}
  local -a whole open
  for line in "${(@f)$("$program" __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    name=${line%%$'\t'*} what=
    [[ $line == *$'\t'* ]] && what=${line#*$'\t'}
    case $name in
      '') ;;
      :files) compset -P '--*='; _files ;;
      :folders) compset -P '--*='; _files -/ ;;
      *=) open+=("${name//:/\\:}${what:+:$what}") ;;
      *) whole+=("${name//:/\\:}${what:+:$what}") ;;
    esac
  done
  (( $#whole )) && _describe 'saslm' whole
  (( $#open )) && _describe 'saslm' open -S ''
}

(( $+functions[compdef] )) && compdef _saslm saslm
