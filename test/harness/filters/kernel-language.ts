/**
 * The kernel's filter language, as kernel/trace/trace_events_filter.c reads it:
 * numbers, comparisons, `!`, `&&` (which binds tighter), `||`, parentheses.
 * Constants are cut to the field's size; order follows the field's sign.
 */
export interface KernelField {
  readonly sizeBytes: number;
  readonly signed: boolean;
}

/** Values as integers; those of unsigned fields may be given as two's complement. */
export type Entry = Readonly<Record<string, bigint>>;

const TOKEN = /\s*(&&|\|\||==|!=|<=|>=|[()!<>&]|-?[A-Za-z0-9_]+)/y;

/** Throws where the kernel would refuse the text. */
export function kernelAccepts(text: string, fields: Readonly<Record<string, KernelField>>, entry: Entry): boolean {
  return new Reader(tokensOf(text), fields, entry).whole();
}

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const token = TOKEN.exec(text)?.[1];
    if (token === undefined) throw new Error(`no token at ${at} of ${text}`);
    tokens.push(token);
  }
  return tokens;
}

class Reader {
  #at = 0;

  readonly #tokens: readonly string[];
  readonly #fields: Readonly<Record<string, KernelField>>;
  readonly #entry: Entry;

  constructor(tokens: readonly string[], fields: Readonly<Record<string, KernelField>>, entry: Entry) {
    this.#tokens = tokens;
    this.#fields = fields;
    this.#entry = entry;
  }

  whole(): boolean {
    const value = this.#or();
    if (this.#at < this.#tokens.length) throw new Error(`${this.#tokens[this.#at]} was not expected`);
    return value;
  }

  #or(): boolean {
    let value = this.#and();
    while (this.#take('||')) value = this.#and() || value;
    return value;
  }

  #and(): boolean {
    let value = this.#one();
    while (this.#take('&&')) value = this.#one() && value;
    return value;
  }

  #one(): boolean {
    if (this.#take('!')) return !this.#one();
    if (!this.#take('(')) return this.#comparison();
    const value = this.#or();
    if (!this.#take(')')) throw new Error('a parenthesis is not closed');
    return value;
  }

  #comparison(): boolean {
    const [name, operator, constant] = this.#tokens.slice(this.#at, this.#at + 3) as [string, string, string];
    this.#at += 3;
    const field = this.#fields[name];
    if (!field) throw new Error(`no field ${name}`);
    if (!/^-?\d+$/.test(constant) || (!field.signed && constant.startsWith('-'))) throw new Error(`value ${constant}`);
    const given = BigInt(constant);
    if (given >= 1n << (field.signed ? 63n : 64n)) throw new Error(`value ${constant}`);
    const cut = (value: bigint) =>
      field.signed ? BigInt.asIntN(field.sizeBytes * 8, value) : BigInt.asUintN(field.sizeBytes * 8, value);
    return compared(operator, cut(this.#entry[name]!), cut(given));
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at += 1;
    return true;
  }
}

function compared(operator: string, a: bigint, b: bigint): boolean {
  switch (operator) {
    case '==':
      return a === b;
    case '!=':
      return a !== b;
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    case '>=':
      return a >= b;
    case '&':
      return (a & b) !== 0n;
    default:
      throw new Error(`operator ${operator}`);
  }
}
