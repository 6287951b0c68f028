# SPDX-License-Identifier: Apache-2.0
# bash completion of hangscope. tests/lint/completions.py compares the verbs and options with hangscope --help.

_hangscope() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=analyze word
	local verbs='
		analyze
		stacks
		graph
		snapshot
		bundle
		doctor
	'
	local options='
		--json
		--json-file
		--format
		--all
		--thread
		--locals
		--redact
		-o --output
		--full
		--no-color
		--exe
		--root
		--debug-dir
		--stop
		--rolling
		--no-stop
		--unwinder
		-v --verbose
		-h --help
		--version
	'
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case " ${verbs//[[:space:]]/ } " in
		*" $word "*) verb=$word ;;
		esac
	done
	COMPREPLY=()
	case $prev in
	--json-file | --exe | -o | --output)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$cur"))
		return
		;;
	--root | --debug-dir)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -d -- "$cur"))
		return
		;;
	--format)
		case $verb in
		stacks) COMPREPLY=($(compgen -W 'text jstack folded json' -- "$cur")) ;;
		graph) COMPREPLY=($(compgen -W 'dot text json' -- "$cur")) ;;
		*) COMPREPLY=($(compgen -W 'text json' -- "$cur")) ;;
		esac
		return
		;;
	--unwinder)
		COMPREPLY=($(compgen -W 'dwfl libunwind' -- "$cur"))
		return
		;;
	--thread) return ;;
	esac
	case $cur in
	-*)
		COMPREPLY=($(compgen -W "$options" -- "$cur"))
		return
		;;
	esac
	compopt -o filenames 2>/dev/null
	COMPREPLY=($(compgen -f -- "$cur"))
	case $cur in
	'' | [0-9]*) COMPREPLY+=($(cd /proc && compgen -W "$(echo [0-9]*)" -- "$cur")) ;;
	esac
	if [ "$COMP_CWORD" = 1 ]; then COMPREPLY+=($(compgen -W "$verbs" -- "$cur")); fi
}
complete -F _hangscope hangscope
