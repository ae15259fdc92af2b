/**
 * The text of a synthetic mix:
 *
 *   Mix  := Item ("," Item)*
 *   Item := kind "=" weight
 */
import { SYNTHETIC_WEIGHT_MAX } from '../limits.js';
import {
  SYNTHETIC_KINDS,
  type SyntheticKind,
  type SyntheticMix,
} from '../sensor-agent/source/synthetic/synthetic-mix.js';
import { refuse } from './setting.js';

const ITEM = /^\s*(\w{1,32})\s*=\s*(\d{1,15})\s*$/;

/** @throws BackplaneError invalid_argument: see Setting */
export function parseMix(text: string): SyntheticMix {
  const mix: Partial<Record<SyntheticKind, number>> = {};
  for (const item of text.split(',')) addItem(mix, item);
  return mix;
}

/** Items in a fixed order, because their order in the text has no meaning. */
export function mixText(mix: SyntheticMix): string {
  return SYNTHETIC_KINDS.flatMap((kind) => (mix[kind] === undefined ? [] : `${kind}=${mix[kind]}`)).join(',');
}

function addItem(mix: Partial<Record<SyntheticKind, number>>, item: string): void {
  const [, name, weightText] = ITEM.exec(item) ?? [];
  if (name === undefined) refuse('must hold kind=weight items, like process=8,network=3,syscall=89');
  const kind =
    SYNTHETIC_KINDS.find((known) => known === name) ??
    refuse(`must hold kinds that are one of ${SYNTHETIC_KINDS.join(', ')}, not "${name}"`);
  if (mix[kind] !== undefined) refuse(`must hold each kind once, not "${name}" twice`);
  const weight = Number(weightText);
  if (!(weight >= 1 && weight <= SYNTHETIC_WEIGHT_MAX))
    refuse(`must hold weights of 1 to ${SYNTHETIC_WEIGHT_MAX}, not ${weight} for "${name}"`);
  mix[kind] = weight;
}
