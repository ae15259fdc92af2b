/** The part of a subscription's request that makes it a member's of a group, checked. */
import { invalid } from '../../errors.js';
import { GROUP_EPOCH_MAX, GROUP_NAME_CHARACTERS_MAX, GROUP_SLICES, GROUP_SLICES_MAX } from '../../limits.js';
import { checkNameText } from './names.js';

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;

export interface SliceEpoch {
  readonly slice: number;
  readonly epoch: number;
}

export interface GroupRequest {
  readonly name: string;
  /** Empty: the member has no name of its own. */
  readonly member: string;
  /** 0: not given. */
  readonly slices: number;
  /** Slices that it had, anywhere, and the last epoch of each. */
  readonly had: readonly SliceEpoch[];
  /** The request states neither topics, nodes, filter nor fields: the group's are wanted. */
  readonly whatItHas: boolean;
}

/** @throws BackplaneError invalid_argument, naming `field`. */
export function checkGroupName(field: string, name: string): string {
  checkNameText(field, name, NAME, 'letters, digits, "_", "." and "-", and begin with a letter, a digit or "_"');
  if (name.length <= GROUP_NAME_CHARACTERS_MAX) return name;
  throw invalid(field, `must be at most ${GROUP_NAME_CHARACTERS_MAX} characters, got ${name.length}`);
}

/**
 * `group` is a GroupMembership, of any type until checked; undefined where there is none.
 * @param given what else the request states, by the names of its fields
 */
export function checkGroup(
  group: unknown,
  given: Readonly<Record<'cursor' | 'until' | 'last' | 'limit' | 'throttle' | 'selectors', boolean>>,
  follow: boolean,
  whatItHas: boolean,
): GroupRequest | undefined {
  if (group === undefined || group === null) return undefined;
  if (typeof group !== 'object' || Array.isArray(group)) throw invalid('group', 'must be an object with a name');
  const { name, member, slices, had } = group as Record<string, unknown>;
  const checked: GroupRequest = {
    name: checkGroupName('group', textOf('group', name)),
    member: member === undefined || member === '' ? '' : checkGroupName('member', textOf('member', member)),
    slices: slicesOf(slices),
    had: hadOf(had),
    whatItHas,
  };
  if (!follow) throw invalid('group', 'needs follow: members get events as long as they stay');
  for (const [field, isGiven] of Object.entries(given)) {
    if (isGiven) throw invalid(field, 'is not for members of a group, which keeps how far each slice is');
  }
  return checked;
}

function textOf(field: string, value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw invalid(field, 'must be text');
  return value;
}

function slicesOf(value: unknown): number {
  const count = typeof value === 'string' && /^\d{1,4}$/.test(value) ? Number(value) : (value ?? 0);
  if (count === 0 || GROUP_SLICES.some((allowed) => allowed === count)) return count as number;
  throw invalid('slices', `must be one of ${GROUP_SLICES.join(', ')}, got ${String(value).slice(0, 32)}`);
}

/** A list of objects, or `slice:epoch` with commas between. */
function hadOf(value: unknown): readonly SliceEpoch[] {
  if (value === undefined || value === null || value === '') return [];
  const given: readonly unknown[] =
    typeof value === 'string' ? value.split(',', GROUP_SLICES_MAX + 1).map(pairOf) : Array.isArray(value) ? value : [];
  if (given.length === 0 && !Array.isArray(value)) throw invalid('had', 'must be a list of slices and epochs');
  if (given.length > GROUP_SLICES_MAX) throw invalid('had', `must have at most ${GROUP_SLICES_MAX} slices`);
  return given.map((each, index) => {
    const { slice, epoch } = (each ?? {}) as Record<string, unknown>;
    return {
      slice: wholeOf(`had[${index}].slice`, slice ?? 0, GROUP_SLICES_MAX - 1),
      epoch: wholeOf(`had[${index}].epoch`, epoch, GROUP_EPOCH_MAX),
    };
  });
}

function pairOf(text: string): Record<string, unknown> {
  const [slice, epoch] = text.split(':', 3);
  return { slice, epoch };
}

function wholeOf(field: string, value: unknown, max: number): number {
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= max) return number;
  throw invalid(field, `must be a whole number from 0 to ${max}, got ${String(value).slice(0, 32)}`);
}
