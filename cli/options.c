// SPDX-License-Identifier: Apache-2.0
/** @file Parsing the command line; --help and --version. */

#include "cli/options.h"

#include <archive.h>
#include <dlfcn.h>
#include <elfutils/version.h>
#include <getopt.h>
#include <jansson.h>
#include <string.h>

#include "core/analysis.h"
#include "core/analyzer.h"
#include "version.h"

enum {
	OPT_JSON = 256,
	OPT_JSON_FILE,
	OPT_FORMAT,
	OPT_THREAD,
	OPT_ALL,
	OPT_EXE,
	OPT_ROOT,
	OPT_DEBUG_DIR,
	OPT_NO_COLOR,
	OPT_UNWINDER,
	OPT_LOCALS,
	OPT_REDACT,
	OPT_FULL,
	OPT_STOP,
	OPT_NO_STOP,
	OPT_ROLLING,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"json",      no_argument,       NULL, OPT_JSON     },
	{"json-file", required_argument, NULL, OPT_JSON_FILE},
	{"format",    required_argument, NULL, OPT_FORMAT   },
	{"thread",    required_argument, NULL, OPT_THREAD   },
	{"all",       no_argument,       NULL, OPT_ALL      },
	{"exe",       required_argument, NULL, OPT_EXE      },
	{"root",      required_argument, NULL, OPT_ROOT     },
	{"debug-dir", required_argument, NULL, OPT_DEBUG_DIR},
	{"no-color",  no_argument,       NULL, OPT_NO_COLOR },
	{"unwinder",  required_argument, NULL, OPT_UNWINDER },
	{"locals",    no_argument,       NULL, OPT_LOCALS   },
	{"redact",    no_argument,       NULL, OPT_REDACT   },
	{"full",      no_argument,       NULL, OPT_FULL     },
	{"stop",      no_argument,       NULL, OPT_STOP     },
	{"no-stop",   no_argument,       NULL, OPT_NO_STOP  },
	{"rolling",   no_argument,       NULL, OPT_ROLLING  },
	{"output",    required_argument, NULL, 'o'          },
	{"verbose",   no_argument,       NULL, 'v'          },
	{"help",      no_argument,       NULL, 'h'          },
	{"version",   no_argument,       NULL, OPT_VERSION  },
	{NULL,        0,                 NULL, 0            },
};

static void print_help(void)
{
	puts("Usage: hangscope [VERB] TARGET [options]\n"
	     "\n"
	     "Who waits for what in a hung or spinning Linux process, held by whom, why, and what\n"
	     "to change. TARGET is a core file (plain, .zst, .xz, .lz4 or .gz), a bundle or a "
	     "PID.\n"
	     "\n"
	     "Verbs:");
	for (size_t i = 0; cli_commands[i]; i++)
		printf("  %-10s %s%s\n", cli_commands[i]->name, cli_commands[i]->summary,
		       i ? "" : " (the default)");
	puts("\n"
	     "Output:\n"
	     "  --json             the whole report as JSON on stdout (messages on stderr)\n"
	     "  --json-file FILE   JSON into FILE, text on stdout\n"
	     "  --format NAME      stacks: text, jstack (as the JDK's tool prints it), folded "
	     "(for\n"
	     "                     flame graphs), json; graph: dot, text, json\n"
	     "  --all              stacks: print equal stacks once per thread\n"
	     "  --thread TID|NAME  stacks: only this thread (TID: also a virtual thread's number)\n"
	     "  --locals           stacks, JSON: arguments and local variables of Java frames\n"
	     "  --redact           keep what the program wrote out of the output: strings, "
	     "numbers,\n"
	     "                     names of its threads, command line, paths; class names stay\n"
	     "  -o, --output FILE  bundle, snapshot: the file to write; - for a pipe\n"
	     "  --full             snapshot: all memory, not only what an analysis reads; stopped "
	     "meanwhile\n"
	     "  --no-color         plain text (also NO_COLOR, and when not a terminal)\n"
	     "\n"
	     "Where things are:\n"
	     "  --exe FILE         the executable of a core, when it is not where the core says\n"
	     "  --root DIR         the target's files are below DIR (a container's root)\n"
	     "  --debug-dir DIR    separate debug files\n"
	     "\n"
	     "Live processes:\n"
	     "  --stop             keep the process stopped until everything is read\n"
	     "  --rolling          stop one thread at a time, never all of them together\n"
	     "  --no-stop          never stop it (registers are then incomplete)\n"
	     "  --unwinder NAME    dwfl (default) or libunwind, as a second opinion\n"
	     "\n"
	     "  -v, --verbose      say what is done\n"
	     "  -h, --help         this text\n"
	     "  --version          version and optional parts\n"
	     "\n"
	     "Exit status: 0 nothing found, 1 findings, 2 incomplete, 64 usage, 66 no such input "
	     "or\n"
	     "not a readable core, 73 cannot write the file, 77 permission, 70 our own bug.");
}

static void print_version(void)
{
	const char *libunwind = hs_analysis_libunwind();
	void *thread_db = dlopen("libthread_db.so.1", RTLD_LAZY | RTLD_LOCAL);

	printf("hangscope %s\n", HS_VERSION_FULL);
	printf("  unwinding     libdw %d.%d; %s%s%s\n", _ELFUTILS_VERSION / 1000,
	       _ELFUTILS_VERSION % 1000, libunwind ? "libunwind " : "no libunwind",
	       libunwind ? libunwind : "", libunwind ? " (--unwinder=libunwind)" : "");
	printf("  libthread_db  %s\n",
	       thread_db ? "yes" : "no: thread start routines come from the target's libc alone");
	printf("  archives      %s (.zst .xz .gz .lz4 cores)\n", archive_version_string());
	printf("  JSON          jansson %s, schema hangscope/1\n", JANSSON_VERSION);
	fputs("  analyzers    ", stdout);
	for (size_t i = 0; hs_analyzers[i]; i++)
		printf(" %s", hs_analyzers[i]->name);
	fputs("\n  formats      ", stdout);
	for (size_t i = 0; hs_renderers[i]; i++)
		printf(" %s", hs_renderers[i]->name);
	putchar('\n');
	if (thread_db)
		dlclose(thread_db);
}

static const struct cli_command *usage_error(int *exit_ret)
{
	fputs("Try 'hangscope --help'.\n", stderr);
	*exit_ret = CLI_USAGE;
	return NULL;
}

static bool set_unwinder(const char *name, struct cli_options *options)
{
	if (strcmp(name, "dwfl") == 0)
		options->analysis.unwinder = HS_UNWINDER_DWFL;
	else if (strcmp(name, "libunwind") == 0)
		options->analysis.unwinder = HS_UNWINDER_LIBUNWIND;
	else
		return false;
	return true;
}

/** @return false when the option is wrong; getopt has said why, or we do. */
static bool set_option(int opt, struct cli_options *options)
{
	switch (opt) {
	case OPT_JSON:
		options->json = true;
		return true;
	case OPT_JSON_FILE:
		options->json_file = optarg;
		return true;
	case OPT_FORMAT:
		options->format = optarg;
		return true;
	case OPT_THREAD:
		options->thread = optarg;
		return true;
	case OPT_ALL:
		options->all = true;
		return true;
	case OPT_LOCALS:
		options->analysis.locals = true;
		options->all = true; // equal stacks hold different values
		return true;
	case OPT_REDACT:
		options->analysis.redact = true;
		return true;
	case OPT_FULL:
		options->full = true;
		return true;
	case OPT_EXE:
		options->analysis.open.exe = optarg;
		return true;
	case OPT_ROOT:
		options->analysis.open.root = optarg;
		return true;
	case OPT_DEBUG_DIR:
		options->analysis.open.debug_dir = optarg;
		return true;
	case OPT_NO_COLOR:
		options->no_color = true;
		return true;
	case OPT_UNWINDER:
		if (set_unwinder(optarg, options))
			return true;
		fprintf(stderr, "hangscope: --unwinder takes dwfl or libunwind\n");
		return false;
	case OPT_STOP:
		options->analysis.open.keep_stopped = true;
		return true;
	case OPT_NO_STOP:
		options->analysis.open.no_stop = true;
		return true;
	case OPT_ROLLING:
		options->analysis.open.rolling = true;
		return true;
	case 'o':
		options->output = optarg;
		return true;
	case 'v':
		options->verbose = true;
		return true;
	default:
		return false;
	}
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		if (strcmp(cli_commands[i]->name, name) == 0)
			return cli_commands[i];
	}
	return NULL;
}

static bool check_format(const struct cli_command *command, const struct cli_options *options)
{
	if (!options->format || hs_renderer_find(options->format, command->view))
		return true;
	fprintf(stderr, "hangscope: %s has no --format=%s; there is", command->name,
	        options->format);
	for (size_t i = 0; hs_renderers[i]; i++) {
		if (hs_renderers[i]->views >> command->view & 1)
			fprintf(stderr, " %s", hs_renderers[i]->name);
	}
	fputc('\n', stderr);
	return false;
}

static bool check_output(const struct cli_command *command, const struct cli_options *options)
{
	if (command->has_output && !options->output)
		fprintf(stderr, "hangscope: %s needs -o FILE, or -o - for a pipe\n", command->name);
	else if (!command->has_output && options->output)
		fprintf(stderr, "hangscope: %s has no -o; its output is standard output\n",
		        command->name);
	return command->has_output == !!options->output;
}

const struct cli_command *cli_parse(int argc, char **argv, struct cli_options *options,
                                    int *exit_ret)
{
	const struct cli_command *command = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "ho:v", long_options, NULL)) != -1) {
		if (opt == 'h' || opt == OPT_VERSION) {
			if (opt == 'h')
				print_help();
			else
				print_version();
			*exit_ret = CLI_CLEAR;
			return NULL;
		}
		if (!set_option(opt, options))
			return usage_error(exit_ret);
	}
	if (optind < argc)
		command = find_command(argv[optind]);
	if (command && argc - optind == 1 && !command->may_lack_target)
		command = NULL;
	if (command)
		optind++;
	else
		command = cli_commands[0];
	if (optind == argc && command->may_lack_target)
		return command;
	if (optind == argc || find_command(argv[optind])) {
		fputs("hangscope: which TARGET? Give a core file or a PID\n", stderr);
		return usage_error(exit_ret);
	}
	options->target = argv[optind++];
	if (optind < argc) {
		fprintf(stderr, "hangscope: '%s' is no verb, or '%s' is one argument too many\n",
		        options->target, argv[optind]);
		return usage_error(exit_ret);
	}
	const struct hs_open_options *open = &options->analysis.open;
	if (open->keep_stopped + open->no_stop + open->rolling > 1) {
		fputs("hangscope: --stop, --rolling and --no-stop contradict each other\n", stderr);
		return usage_error(exit_ret);
	}
	if (!check_output(command, options) || !check_format(command, options))
		return usage_error(exit_ret);
	return command;
}
