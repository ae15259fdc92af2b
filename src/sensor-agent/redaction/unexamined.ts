/**
 * Masks arguments that there is no time to look at: everything that could be a
 * secret by its place is masked. Only argument zero, names of flags, and plain
 * paths that contain nothing a rule looks for stay readable.
 */
const MASK = '***';
const URL = /^([a-z][a-z0-9+.-]*:\/\/)(?:[^/?#\s]*@)?([a-z0-9.-]+(?::\d{1,5})?)((?:\/[\w./~%+-]*)?)(.*)$/is;
const PATH = /^(?:~|\.{1,2})?[\w.+-]*(?:\/[\w.+-]*)+$/;
const FLAG = /^(--[a-z0-9][\w.-]*|-[a-z0-9])(.*)$/is;

/** Facts about arguments that need no closer look: their indices. */
export interface Unexamined {
  /** Arguments that contain something that a rule looks for. */
  readonly named: ReadonlySet<number>;
  /** Arguments that may be a secret themselves, like a token. */
  readonly shaped: ReadonlySet<number>;
  /** The program takes secrets without a flag, or a rule could match anything: any argument may be one. */
  readonly isPositional: boolean;
}

/** The arguments as they may be recorded. */
export function maskUnexamined(args: readonly string[], { named, shaped, isPositional }: Unexamined): string[] {
  return args.map((argument, index) => {
    if (/^-*$/.test(argument)) return argument;
    if (index === 0) return shaped.has(0) ? MASK : program(argument);
    if (shaped.has(index)) return MASK;
    const flag = FLAG.exec(argument);
    if (flag) return `${flag[1]}${rest(flag[2]!)}`;
    const isBehind = index > 1 && bringsValue(args[index - 1]!, named.has(index - 1));
    return isBehind || isPositional ? MASK : value(argument, named.has(index));
  });
}

/** Whether what follows an argument may be its value: of a flag, or of a name that is set to it. */
function bringsValue(argument: string, isNamed: boolean): boolean {
  return (isNamed || FLAG.test(argument)) && !argument.includes('=');
}

/** Masks argument zero from the first character that no program's name has. */
function program(argument: string): string {
  const end = argument.search(/[=@?:\s]/);
  return end < 0 ? argument : `${argument.slice(0, end + 1)}${MASK}`;
}

/** Masks a value that is glued to a flag or follows its "=". */
function rest(glued: string): string {
  if (glued === '') return '';
  return glued[0] === '=' || glued[0] === ':' ? (glued.length > 1 ? `${glued[0]}${MASK}` : glued) : MASK;
}

function value(argument: string, isNamed: boolean): string {
  const url = URL.exec(argument);
  if (url) {
    const [, scheme, host, path = '', query] = url;
    const user = argument.slice(scheme!.length).startsWith(host!) ? '' : `${MASK}@`;
    return `${scheme}${user}${host}${path}${query === '' ? '' : queryOf(query!)}`;
  }
  const name = /^([a-z_][\w.-]*)([=:])(.+)$/is.exec(argument);
  if (name) return `${name[1]}${name[2]}${MASK}`;
  return PATH.test(argument) && !isNamed ? argument : MASK;
}

/** ?a=1&b=2 keeps its names. */
function queryOf(query: string): string {
  if (!/^\?[\w.-]+(?:=[^&#=]*)?(?:&[\w.-]+(?:=[^&#=]*)?)*$/.test(query)) return MASK;
  return query.replace(/=[^&]+/g, `=${MASK}`);
}

/** How many secrets a masked argument stands for, at most. */
export const masksIn = (args: readonly string[]): number =>
  args.reduce((sum, argument) => sum + argument.split(MASK).length - 1, 0);
