/** Aligned columns: of a list at once, or of rows as they come. Cells must be safe text already. */

export interface Column {
  readonly title: string;
  readonly align?: 'right';
  /** Rows that come one by one: the column starts out this wide. */
  readonly widthMin?: number;
  /** A table that is too wide drops columns, the greatest rank first; a column without a rank is never dropped. */
  readonly rank?: number;
  /** Text that may go on in lines below. */
  readonly wraps?: true;
}

/** Columns of a stream: a column grows when a cell needs it, and stays so. */
export class Columns {
  readonly #columns: readonly Column[];
  readonly #widths: number[];

  constructor(columns: readonly Column[], rows: readonly (readonly string[])[] = []) {
    this.#columns = columns;
    this.#widths = columns.map((column, index) =>
      rows.reduce(
        (width, row) => Math.max(width, length(row[index])),
        Math.max(length(column.title), column.widthMin ?? 0),
      ),
    );
  }

  header(): string {
    return this.row(this.#columns.map((column) => column.title));
  }

  /** One line, without trailing spaces or newline. */
  row(cells: readonly string[]): string {
    const padded = this.#columns.map((column, index) => {
      const cell = cells[index] ?? '';
      const width = Math.max(this.#widths[index] ?? 0, length(cell));
      // The last column needs no width, because nothing follows it.
      if (index < this.#columns.length - 1) this.#widths[index] = width;
      const spaces = ' '.repeat(width - length(cell));
      return column.align === 'right' ? spaces + cell : cell + spaces;
    });
    return padded.join('  ').trimEnd();
  }
}

/** A whole table: header and rows, each with its newline. */
export function tableText(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const table = new Columns(columns, rows);
  return [table.header(), ...rows.map((row) => table.row(row))].map((line) => `${line}\n`).join('');
}

const GAP = 2;
/** No column is wrapped or cut below this width. */
const CELL_MIN = 12;

/** A whole table that is at most `width` columns wide; undefined: as wide as it is. */
export function fittedTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
): string {
  if (width === undefined) return tableText(columns, rows);
  const kept = keptColumns(columns, rows, width);
  const shown = kept.map((index) => columns[index]!);
  const cells = rows.map((row) => kept.map((index) => row[index] ?? ''));
  const widths = narrowed(shown, naturalWidths(shown, cells), width);
  const lines = cells.flatMap((row) => {
    const parts = row.map((cell, index) =>
      shown[index]!.wraps ? wrapText(cell, widths[index]!) : [cut(cell, widths[index]!)],
    );
    const height = Math.max(...parts.map((part) => part.length));
    return Array.from({ length: height }, (_, line) => parts.map((part) => part[line] ?? ''));
  });
  return tableText(shown, lines);
}

function naturalWidths(columns: readonly Column[], rows: readonly (readonly string[])[]): number[] {
  return columns.map((column, index) => Math.max(length(column.title), ...rows.map((row) => length(row[index]))));
}

/** Indices of the shown columns. A wrapping column counts with its least useful width. */
function keptColumns(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): number[] {
  const least = naturalWidths(columns, rows).map((natural, index) =>
    columns[index]!.wraps ? Math.min(natural, 2 * CELL_MIN) : natural,
  );
  let kept = columns.map((_, index) => index);
  const leftOut = kept.filter((index) => columns[index]!.rank !== undefined);
  leftOut.sort((a, b) => columns[b]!.rank! - columns[a]!.rank! || b - a);
  for (const out of leftOut) {
    if (total(kept.map((index) => least[index]!)) <= width) break;
    kept = kept.filter((index) => index !== out);
  }
  return kept;
}

function total(widths: readonly number[]): number {
  return widths.reduce((sum, each) => sum + each, 0) + GAP * (widths.length - 1);
}

/** Narrows wrapping columns first, the widest of them before the others; then names that are too long. */
function narrowed(columns: readonly Column[], widths: number[], width: number): number[] {
  const fits = (candidates: readonly number[]) => {
    while (total(widths) > width) {
      const widest = candidates.reduce((a, b) => (widths[b]! > widths[a]! ? b : a), candidates[0] ?? 0);
      if (candidates.length === 0 || widths[widest]! <= CELL_MIN) return;
      widths[widest]! -= 1;
    }
  };
  const indices = columns.map((_, index) => index);
  fits(indices.filter((index) => columns[index]!.wraps));
  fits(indices.filter((index) => columns[index]!.align !== 'right'));
  return widths;
}

/** Lines of at most `width` characters, broken at spaces where there are some. Never empty. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  let line: string[] = [];
  for (const word of text.split(' ')) {
    let rest = [...word];
    if (line.length > 0 && line.length + 1 + rest.length > width) {
      lines.push(line.join(''));
      line = [];
    } else if (line.length > 0) line.push(' ');
    for (; rest.length > width; rest = rest.slice(width)) lines.push(rest.slice(0, width).join(''));
    line.push(...rest);
  }
  return [...lines, line.join('')];
}

function cut(cell: string, width: number): string {
  const characters = [...cell];
  return characters.length <= width ? cell : `${characters.slice(0, width - 1).join('')}…`;
}

/** In characters, not UTF-16 units. */
function length(text: string | undefined): number {
  return text === undefined ? 0 : [...text].length;
}
