/** Which verb a command line is about, read without its flags: what has to be loaded depends on it. */

/** Undefined where there is none; it may be no verb. */
export function wantedVerb(args: readonly string[]): string | undefined {
  return args.find((argument) => argument !== 'help' && !argument.startsWith('-'));
}
