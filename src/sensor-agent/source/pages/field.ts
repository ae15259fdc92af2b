/** One field of an event's payload, as its format file declares it. */

/** How a field's bytes are read; `loc` kinds point elsewhere in the payload. */
export type FieldKind = 'int' | 'bool' | 'string' | 'array' | 'bytes' | 'loc-string' | 'loc-bytes';

export interface TraceField {
  readonly name: string;
  /** The declaration without the name, as the kernel writes it: `const void *`, `__data_loc char[]`. */
  readonly type: string;
  readonly kind: FieldKind;
  /** Bytes from the start of the payload. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly signed: boolean;
  /** Bytes per element: 1, 2, 4 or 8 for ints and arrays. */
  readonly elementBytes: number;
  /** __rel_loc: the offset counts from the end of the field itself. */
  readonly relative: boolean;
}
