/**
 * Filter text to a syntax tree, by the grammar of CEL; every error at a column.
 * Written here because a filter is parsed in every process, and the general
 * parser took longer to load than most of these processes take to start.
 *
 *   expression := or ["?" or ":" expression]
 *   or         := and {"||" and}              and      := relation {"&&" relation}
 *   relation   := sum {("<" | "<=" | ">=" | ">" | "==" | "!=" | "in") sum}
 *   sum        := product {("+" | "-") product}
 *   product    := unary {("*" | "/" | "%") unary}
 *   unary      := {"!" | "-"} member
 *   member     := primary {"." name ["(" [list] ")"] | "[" expression "]"}
 *   primary    := literal | ["."] name ["(" [list] ")"] | "(" expression ")" | "[" [list [","]] "]"
 *   list       := expression {"," expression}
 */
import type { ErrorDetails } from '../../errors.js';
import { didYouMean } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import type { ArithmeticOperator, CompareOperator } from './checked.js';
import { refusal } from './refusal.js';
import { type Token, tokensOf } from './tokens.js';

interface Node<Kind extends string> {
  readonly kind: Kind;
  /**
   * Where it stands in the text, from 0: of an operator the operator itself, of a call with a target the function's
   * name.
   */
  readonly at: number;
}

export type ConstantSyntax =
  | (Node<'bool'> & { readonly value: boolean })
  | (Node<'int'> & { readonly value: bigint })
  | (Node<'string'> & { readonly value: string })
  | Node<'unsigned' | 'fraction' | 'null' | 'bytes'>;
/** `a.b.c` is one name. */
export type NameSyntax = Node<'name'> & { readonly name: string };
export type BinaryOperator = ArithmeticOperator | CompareOperator | 'in';
export type BinarySyntax = Node<'binary'> & {
  readonly operator: BinaryOperator;
  readonly left: Syntax;
  readonly right: Syntax;
};
export type CallSyntax = Node<'call'> & {
  readonly name: string;
  readonly target: Syntax | undefined;
  readonly args: readonly Syntax[];
};
/** `list.exists(variable, body)` and the like. */
export type LoopSyntax = Node<'loop'> & {
  readonly macro: string;
  readonly variable: string;
  readonly list: Syntax;
  readonly body: Syntax;
};
/** `value["a"].b`. */
export type SelectSyntax = Node<'select'> & { readonly target: Syntax; readonly name: string };
export type Syntax =
  | ConstantSyntax
  | NameSyntax
  | SelectSyntax
  | BinarySyntax
  | CallSyntax
  | LoopSyntax
  | (Node<'has'> & { readonly name: string })
  | (Node<'and' | 'or'> & { readonly operands: readonly Syntax[] })
  | (Node<'not' | 'negate'> & { readonly operand: Syntax })
  | (Node<'conditional'> & { readonly test: Syntax; readonly yes: Syntax; readonly no: Syntax })
  | (Node<'index'> & { readonly list: Syntax; readonly index: Syntax })
  | (Node<'list'> & { readonly elements: readonly Syntax[] });

export interface ParsedFilter {
  readonly text: string;
  readonly root: Syntax;
}

const KEYWORDS = new Set(['true', 'false', 'null', 'in']);
/** No names, though no part of filters either; after a dot they are names. */
const RESERVED = new Set([
  ...['as', 'break', 'const', 'continue', 'else', 'for', 'function', 'if', 'import', 'let', 'loop', 'package'],
  ...['namespace', 'return', 'var', 'void', 'while'],
]);
/** Macros with a variable, and how many arguments they can have. */
const LOOPS: ReadonlyMap<string, readonly number[]> = new Map([
  ['exists', [2]],
  ['all', [2]],
  ['exists_one', [2]],
  ['existsOne', [2]],
  ['map', [2, 3]],
  ['filter', [2]],
]);
/** Binary operators by how closely they bind. */
const LEVELS: readonly ReadonlySet<string>[] = [
  new Set(['||']),
  new Set(['&&']),
  new Set(['<', '<=', '>=', '>', '==', '!=', 'in']),
  new Set(['+', '-']),
  new Set(['*', '/', '%']),
];
const MEANT = new Map([
  ['and', '&&'],
  ['or', '||'],
  ['not', '!'],
]);

/** @throws BackplaneError filter_invalid: too long, too deep, or not CEL. */
export function parseFilter(text: string): ParsedFilter {
  return { text, root: new Parser(text).run() };
}

class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = tokensOf(text);
  }

  run(): Syntax {
    const root = this.#expression();
    if (this.#token.kind !== 'end') throw this.#unexpected();
    return root;
  }

  /** The next token; the last one is the end, which is never taken. */
  get #token(): Token {
    return this.#tokens[this.#next]!;
  }

  #is(text: string): boolean {
    const { kind } = this.#token;
    return this.#token.text === text && (kind === 'punctuation' || kind === 'word');
  }

  /** Takes this token if it is the next one. */
  #take(text: string): boolean {
    const is = this.#is(text);
    if (is) this.#next++;
    return is;
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw this.#unexpected();
  }

  #expression(): Syntax {
    const test = this.#binary(0);
    const { at } = this.#token;
    if (!this.#take('?')) return test;
    const yes = this.#binary(0);
    this.#expect(':');
    return { kind: 'conditional', at, test, yes, no: this.#expression() };
  }

  #binary(level: number): Syntax {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const { kind, at, text } = this.#token;
      if ((kind !== 'punctuation' && kind !== 'word') || !operators.has(text)) return left;
      this.#next++;
      const right = this.#binary(level + 1);
      if (text !== '&&' && text !== '||') {
        left = { kind: 'binary', at, operator: text as BinaryOperator, left, right };
        continue;
      }
      const joined = text === '&&' ? 'and' : 'or';
      // One node however many operands: what checks them recurses.
      const operands = left.kind === joined ? [...left.operands, right] : [left, right];
      left = { kind: joined, at, operands };
    }
  }

  #unary(): Syntax {
    const operators: Token[] = [];
    while (this.#is('!') || this.#is('-')) {
      if (this.#negativeNumber()) break;
      operators.push(this.#token);
      this.#next++;
    }
    let node = this.#member();
    for (const { at, text } of operators.reverse()) {
      node = { kind: text === '!' ? 'not' : 'negate', at, operand: node };
    }
    return node;
  }

  /** Whether a minus sign and the digits right behind it are next: one number, so that the smallest one can be written. */
  #negativeNumber(): boolean {
    const following = this.#tokens[this.#next + 1];
    return this.#is('-') && following?.kind === 'number' && following.at === this.#token.at + 1;
  }

  #member(): Syntax {
    let node = this.#primary();
    for (;;) {
      const { at } = this.#token;
      if (this.#take('[')) {
        const index = this.#expression();
        this.#expect(']');
        node = { kind: 'index', at, list: node, index };
      } else if (this.#take('.')) {
        node = this.#selected(node);
      } else return node;
    }
  }

  /** What follows a value and a dot. */
  #selected(target: Syntax): Syntax {
    const { kind, at, text } = this.#token;
    if (kind !== 'word') throw this.#unexpected();
    if (KEYWORDS.has(text)) throw this.#refuse(at, 'a reserved word cannot be a name');
    this.#next++;
    if (this.#take('(')) return this.#call(at, text, target);
    if (target.kind === 'name') return { ...target, name: `${target.name}.${text}` };
    if (target.kind === 'index' || target.kind === 'select') return { kind: 'select', at, target, name: text };
    throw this.#refuse(target.at, `${shown(`.${text}`)} follows something that has no fields`);
  }

  #call(at: number, name: string, target: Syntax | undefined): Syntax {
    const args = this.#list(')', false);
    const [first, second] = args;
    if (target === undefined && name === 'has' && args.length === 1 && first?.kind === 'name') {
      if (first.name.includes('.')) return { kind: 'has', at: first.at, name: first.name };
    }
    const loop = target !== undefined && first?.kind === 'name' && !first.name.includes('.');
    if (loop && LOOPS.get(name)?.includes(args.length) === true) {
      return { kind: 'loop', at, macro: name, variable: first.name, list: target, body: second! };
    }
    return { kind: 'call', at, name, target, args };
  }

  /** Up to the closing bracket, which is taken. */
  #list(closing: string, commaAtEnd: boolean): Syntax[] {
    const elements: Syntax[] = [];
    if (this.#take(closing)) return elements;
    do {
      if (commaAtEnd && elements.length > 0 && this.#is(closing)) break;
      elements.push(this.#expression());
    } while (this.#take(','));
    this.#expect(closing);
    return elements;
  }

  #primary(): Syntax {
    const token = this.#token;
    const { kind, at, text } = token;
    switch (kind) {
      case 'string':
        this.#next++;
        return { kind: 'string', at, value: text };
      case 'bytes':
        this.#next++;
        return { kind: 'bytes', at };
      case 'number':
        this.#next++;
        return number(at, text);
      case 'word':
        return this.#word();
      default:
    }
    if (this.#negativeNumber()) {
      this.#next += 2;
      return number(at, `-${this.#tokens[this.#next - 1]!.text}`);
    }
    if (this.#take('(')) {
      const inner = this.#expression();
      this.#expect(')');
      return inner;
    }
    if (this.#take('[')) return { kind: 'list', at, elements: this.#list(']', true) };
    if (this.#is('{')) throw this.#refuse(at, 'maps and messages cannot be written in a filter');
    if (!this.#take('.')) throw this.#unexpected();
    const following = this.#token;
    if (following.kind === 'number' && following.at === at + 1) {
      this.#next++;
      return { kind: 'fraction', at };
    }
    if (following.kind !== 'word') throw this.#unexpected();
    // A name from the root of all: every name here is.
    return this.#name();
  }

  #word(): Syntax {
    const { at, text } = this.#token;
    if (text === 'true' || text === 'false' || text === 'null') {
      this.#next++;
      return text === 'null' ? { kind: 'null', at } : { kind: 'bool', at, value: text === 'true' };
    }
    return this.#name();
  }

  #name(): Syntax {
    const { at, text } = this.#token;
    if (KEYWORDS.has(text) || RESERVED.has(text)) throw this.#refuse(at, 'a reserved word cannot be a name');
    this.#next++;
    if (this.#take('(')) return this.#call(at, text, undefined);
    return { kind: 'name', at, name: text };
  }

  #unexpected(): Error {
    const { kind, at } = this.#token;
    if (kind === 'end') return this.#refuse(at, 'the filter ends too early');
    const found = /^(?:[A-Za-z0-9_]+|&&|\|\||[=!<>]=|.)/su.exec(this.#text.slice(at))![0];
    const meant = MEANT.get(found.toLowerCase());
    const details = { length: found.length, suggestion: meant };
    return this.#refuse(at, `unexpected ${shown(found)}${didYouMean(meant)}`, details);
  }

  #refuse(at: number, problem: string, details: ErrorDetails = {}): Error {
    return refusal(this.#text, at, problem, details);
  }
}

function number(at: number, text: string): Syntax {
  if (/u$/i.test(text)) return { kind: 'unsigned', at };
  if (!/^-?(?:0x[0-9a-f]+|\d+)$/i.test(text)) return { kind: 'fraction', at };
  return { kind: 'int', at, value: text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text) };
}
