/**
 * A TypeScript file as the tidy test sees it: its code with comments, strings
 * and patterns blanked out (same length, same lines), its imports, its exports
 * and its functions. Not a parser: it knows as much as the rules need.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';

export interface Import {
  /** Path of the file, when it is one of ours. */
  readonly target: string | undefined;
  /** Names taken; undefined: all of them (namespace or dynamic import). */
  readonly names: readonly string[] | undefined;
  readonly line: number;
  /** False for what is gone at run time (types), or is started and not imported (`new URL`). */
  readonly loads: boolean;
  /** Loaded only when the code comes there. */
  readonly isLazy: boolean;
}

export interface Span {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

export interface SourceFile {
  /** From the repository's root. */
  readonly path: string;
  /** Without comments, imports and empty lines. */
  readonly codeLines: number;
  readonly text: string;
  /** The text with the insides of comments, strings and patterns blanked. */
  readonly code: string;
  readonly imports: readonly Import[];
  readonly exports: readonly { readonly name: string; readonly line: number; readonly isShape: boolean }[];
  readonly functions: readonly Span[];
}

export function readSource(root: string, file: string): SourceFile {
  const text = readFileSync(path.join(root, file), 'utf8');
  const code = blank(text);
  return {
    path: file,
    codeLines: code.replace(/^import [^;]*;$/gm, '').match(/^.*\S.*$/gm)?.length ?? 0,
    text,
    code,
    imports: imports(text, code, file),
    exports: exports(code),
    functions: functions(code),
  };
}

export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) line++;
  return line;
}

/** What may stand in front of a `/` that begins a pattern. */
const BEFORE_PATTERN =
  /(?:^|[=(,:;!&|?{}[+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|throw|await|yield|void))\s*$/;

function blank(text: string): string {
  const out = text.split('');
  // Depth of braces at which each open `${` closes.
  const templates: number[] = [];
  let depth = 0;
  for (let at = 0; at < text.length; ) {
    const character = text[at];
    const resumes = character === '}' && templates.at(-1) === depth;
    if (resumes) templates.pop();
    else if (character === '{') depth++;
    else if (character === '}') depth--;
    const before = out.slice(Math.max(0, at - 40), at).join('');
    const end = character === '`' || resumes ? templateEnd(text, at + 1) : hiddenEnd(text, at, before);
    for (let hidden = at; hidden < (end ?? at); hidden++) {
      // Quotes stay: imports are found by them.
      if (out[hidden] !== '\n' && !(hidden === at && character === "'")) out[hidden] = ' ';
    }
    if (end !== undefined && (character === '`' || resumes) && text[end - 1] === '{') templates.push(depth);
    at = end ?? at + 1;
  }
  return out.join('');
}

/** Where the comment, string or pattern that begins here ends; undefined: code. */
function hiddenEnd(text: string, at: number, before: string): number | undefined {
  const two = text.slice(at, at + 2);
  if (two === '//') return endOr(text.indexOf('\n', at), text);
  if (two === '/*') return endOr(text.indexOf('*/', at) + 2, text);
  if (text[at] === "'" || text[at] === '"') return stringEnd(text, at);
  return text[at] === '/' && BEFORE_PATTERN.test(before) ? patternEnd(text, at) : undefined;
}

function endOr(found: number, text: string): number {
  return found <= 1 ? text.length : found;
}

function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === text[start] || text[at] === '\n') return at + 1;
  }
  return text.length;
}

function patternEnd(text: string, start: number): number {
  let inClass = false;
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '[') inClass = true;
    else if (text[at] === ']') inClass = false;
    else if ((text[at] === '/' && !inClass) || text[at] === '\n') return at + 1;
  }
  return text.length;
}

/** Behind the closing backtick, or behind the `${` that interrupts it. */
function templateEnd(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '`') return at + 1;
    else if (text[at] === '$' && text[at + 1] === '{') return at + 2;
  }
  return text.length;
}

function imports(text: string, code: string, file: string): Import[] {
  const found: Import[] = [];
  const statement = /^(import|export)\b([^'";]*?)(?:\bfrom\s*)?'/gm;
  for (const match of code.matchAll(statement)) {
    // `export const x = '...'` has a quote too, but no `from` in front of it.
    if (match[1] === 'export' && !/from\s*'$/.test(match[0])) continue;
    found.push(importOf(text, file, match.index, match.index + match[0].length, match[2] ?? ''));
  }
  for (const match of code.matchAll(/\b(import|new URL)\(\s*'/g)) {
    const whole = importOf(text, file, match.index, match.index + match[0].length, ' * ');
    found.push({ ...whole, loads: match[1] === 'import', isLazy: true });
  }
  return found;
}

function importOf(text: string, file: string, start: number, quoteEnd: number, clause: string): Import {
  const specifier = text.slice(quoteEnd, text.indexOf("'", quoteEnd));
  const target = specifier.startsWith('.')
    ? path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, '.ts')
    : undefined;
  const typeClause = /^\s*type\b/.test(clause);
  const listed = /\{([^}]*)\}/
    .exec(clause)?.[1]
    ?.split(',')
    .map((item) => item.trim())
    .filter(Boolean);
  const names = listed?.map((item) => item.replace(/^type\s+/, '').replace(/\s+as\s.*$/, ''));
  const typeOnly =
    typeClause || (listed !== undefined && listed.length > 0 && listed.every((item) => item.startsWith('type ')));
  return { target, names, line: lineAt(text, start), loads: !typeOnly, isLazy: false };
}

function exports(code: string): SourceFile['exports'] {
  const declared =
    /^export (?:declare )?(?:abstract )?(?:async )?(const enum|const|let|function\*?|class|interface|type|enum)\s+(\w+)/gm;
  const found = [...code.matchAll(declared)].map(({ 1: kind = '', 2: name = '', index }) => ({
    name,
    line: lineAt(code, index),
    isShape: kind === 'interface' || kind === 'type' || kind.endsWith('class'),
  }));
  // Lists and re-exports: `export { a, type B as C }` and `export type { ... } from`.
  for (const { 1: type, 2: list = '', index } of code.matchAll(/^export (type )?\{([^}]*)\}/gm)) {
    for (const item of list
      .split(',')
      .map((part) => part.trim())
      .filter(Boolean)) {
      const name = item.replace(/^type\s+/, '').replace(/^.*\sas\s+/, '');
      found.push({ name, line: lineAt(code, index), isShape: type !== undefined || item.startsWith('type ') });
    }
  }
  return found;
}

const NOT_FUNCTIONS = new Set(['if', 'for', 'while', 'switch', 'catch', 'with']);

/** Every block that is a function's body, counted from the line on which its signature begins. */
function functions(code: string): Span[] {
  const found: Span[] = [];
  const open: (Signature | undefined)[] = [];
  for (let at = 0; at < code.length; at++) {
    if (code[at] === '{') open.push(signatureBefore(code, at));
    else if (code[at] === '}') {
      const signature = open.pop();
      if (signature === undefined) continue;
      const line = lineAt(code, signature.start);
      found.push({ name: signature.name, line, lines: lineAt(code, at) - line + 1 });
    }
  }
  return found;
}

interface Signature {
  readonly name: string;
  /** Where it begins: at its name, or at its parameters where it has none. */
  readonly start: number;
}

/** The signature whose body the brace opens; undefined: the brace opens a block, an object, a class or a type. */
function signatureBefore(code: string, brace: number): Signature | undefined {
  let end = trimmedEnd(code, brace);
  const isArrow = code.slice(0, end).endsWith('=>');
  if (isArrow) end = trimmedEnd(code, end - 2);
  if (/\b(?:else|try|do|finally|return|static)$/.test(code.slice(Math.max(0, end - 8), end))) return undefined;
  const closing = code[end - 1] === ')' ? end - 1 : parametersBeforeType(code, end);
  if (closing === undefined) return isArrow ? { name: 'arrow function', start: end } : undefined;
  const start = openingOf(code, closing);
  const before = code.slice(Math.max(0, start - 300), start);
  const named = (
    isArrow ? /([\w#]+)\s*(?::[^;={}]*)?[=:]\s*(?:async\s*)?(?:<[^()]*>)?$/ : /([\w#]+|\])\s*(?:<[^()]*>)?\s*$/
  ).exec(before);
  if (named === null) return isArrow ? { name: 'arrow function', start } : undefined;
  const name = named[1]!;
  return NOT_FUNCTIONS.has(name) ? undefined : { name, start: start - before.length + named.index };
}

function trimmedEnd(code: string, end: number): number {
  while (/\s/.test(code[end - 1] ?? '')) end--;
  return end;
}

/** Where the parameters close in front of a return type that ends here; undefined: this is no return type. */
function parametersBeforeType(code: string, end: number): number | undefined {
  let depth = 0;
  for (let at = end - 1; at >= 0; at--) {
    const character = code[at]!;
    if (character === '>' && code[at - 1] === '=') at--;
    else if (')]}>'.includes(character)) {
      // Behind the closing brace of a type the type goes on; otherwise the brace ends a statement.
      if (character === '}' && depth === 0 && at !== end - 1 && !/^\s*[|&[]/.test(code.slice(at + 1, end)))
        return undefined;
      depth++;
    } else if ('([{<'.includes(character)) {
      if (depth-- === 0) return undefined;
    } else if (depth === 0 && ';=,'.includes(character)) {
      return undefined;
    } else if (depth === 0 && character === ':' && at < end - 1) {
      const before = trimmedEnd(code, at);
      return code[before - 1] === ')' ? before - 1 : undefined;
    }
  }
  return undefined;
}

function openingOf(code: string, closing: number): number {
  let depth = 0;
  for (let at = closing; at >= 0; at--) {
    if (code[at] === ')') depth++;
    else if (code[at] === '(' && --depth === 0) return at;
  }
  return 0;
}
