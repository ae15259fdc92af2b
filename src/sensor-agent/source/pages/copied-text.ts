/** A text that a probe has copied in the kernel. */
import type { FieldValue } from './decoder.js';

/** The kernel writes this where it could not copy a text, as for an address of 0. */
const NOT_COPIED = '(fault)';

export function copiedText(value: FieldValue | undefined): string | undefined {
  return typeof value === 'string' && value !== NOT_COPIED ? value : undefined;
}
