/** What is mounted where, by `/proc/PID/mountinfo` (Documentation/filesystems/proc.rst). */
import { readFileSync } from 'node:fs';

export interface MountLine {
  /** `major:minor` of its filesystem. */
  readonly device: string;
  /** The directory of the filesystem that is mounted, and where. */
  readonly root: string;
  readonly point: string;
  readonly type: string;
  /** Of the filesystem: of an overlay its layers are among them. */
  readonly options: string;
}

/** Shows the files of other directories, its layers. In a user namespace of their own, users mount it over what they like. */
export const OVERLAY = 'overlay';
/** `id parent device root point … - type source options` */
const LINE = /^(\d+) \d+ (\d+:\d+) (\S+) (\S+) .* - (\S+) \S* (.*)$/;

/** Blanks and the like, as the kernel writes them in lists. */
function unescaped(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** A line of the list; undefined where it is none. */
export function mountLine(line: string): MountLine | undefined {
  const [, , device, root, point, type, options] = LINE.exec(line) ?? [];
  if (device === undefined || root === undefined || point === undefined || type === undefined) return undefined;
  return { device, root: unescaped(root), point: unescaped(point), type, options: unescaped(options ?? '') };
}

/** The mount with a number, as a process sees it: one that it does not see says nothing. `process`: a pid, or `self`. */
export function mountIn(process: string, id: string): MountLine | undefined {
  try {
    const text = readFileSync(`/proc/${process}/mountinfo`, 'utf8');
    const [line] = new RegExp(`^${id} .*$`, 'm').exec(text) ?? [];
    return line === undefined ? undefined : mountLine(line);
  } catch {
    return undefined;
  }
}

/** All that is mounted, as this agent sees it. */
export function ownMounts(): readonly MountLine[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.flatMap((line) => mountLine(line) ?? []);
}

/** Of an overlay, the uppermost first. Relative ones, of whoever mounted it from a directory of his, lead nowhere here. */
export function layersOf(options: string): string[] {
  return allLayersOf(options).filter((layer) => layer.startsWith('/'));
}

/** Documentation/filesystems/overlayfs.rst */
export function allLayersOf(options: string): string[] {
  const given = options.split(',').flatMap((option) => {
    const [, key, value] = /^(upperdir|lowerdir\+?)=(.*)$/.exec(option) ?? [];
    return value === undefined ? [] : [{ isUpper: key === 'upperdir', value }];
  });
  const [upper, lower] = [given.filter(({ isUpper }) => isUpper), given.filter(({ isUpper }) => !isUpper)];
  return [...upper.map(({ value }) => value), ...lower.flatMap(({ value }) => value.split(':'))];
}
