/** Aligned columns: of a list at once, or of rows as they come. Cells must be safe text already. */

export interface Column {
  readonly title: string;
  readonly align?: 'right';
  /** Rows that come one by one: the column starts out this wide. */
  readonly widthMin?: number;
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
      // The last column is as long as it is: nothing stands behind it.
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

/** In characters, not UTF-16 units. */
function length(text: string | undefined): number {
  return text === undefined ? 0 : [...text].length;
}
