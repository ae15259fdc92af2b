/** The texts of /proc/PID, taken apart. */
import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX, EVENT_STRING_BYTES_MAX } from '../../limits.js';

/** `cmdline`: arguments that each end with NUL. As many bytes as were asked for may not be all. */
export function splitArguments(bytes: Buffer): { args: string[]; truncated: boolean } {
  const args: string[] = [];
  let at = 0;
  while (at < bytes.length && args.length < ARGUMENTS_MAX) {
    const nul = bytes.indexOf(0, at);
    const end = nul < 0 ? bytes.length : nul;
    args.push(bytes.toString('utf8', at, end));
    at = end + 1;
  }
  return { args, truncated: at < bytes.length || bytes.length >= ARGUMENTS_BYTES_MAX };
}

/** Major numbers of terminals, Documentation/admin-guide/devices.txt, and what their minor ones are named by. */
const PTY_MAJOR = 136;
const PTY_MAJORS = 8;
const CONSOLE_MAJOR = 4;
const SERIAL_MINOR = 64;

/**
 * A controlling terminal by its number in `stat` (include/linux/kdev_t.h): `pts/3`, `tty1`, `ttyS0`; others as
 * `MAJOR:MINOR`. Empty where there is none.
 */
export function ttyName(device: number): string {
  if (device === 0) return '';
  const major = (device >>> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  if (major >= PTY_MAJOR && major < PTY_MAJOR + PTY_MAJORS) return `pts/${(major - PTY_MAJOR) * 256 + minor}`;
  if (major === CONSOLE_MAJOR) return minor < SERIAL_MINOR ? `tty${minor}` : `ttyS${minor - SERIAL_MINOR}`;
  if (major === 5 && minor === 1) return 'console';
  if (major === 229) return `hvc${minor}`;
  if (major === 204 && minor >= 64 && minor < 80) return `ttyAMA${minor - 64}`;
  return `${major}:${minor}`;
}

/** At most EVENT_STRING_BYTES_MAX bytes of UTF-8. */
export function cut(text: string): string {
  if (text.length * 3 <= EVENT_STRING_BYTES_MAX || Buffer.byteLength(text) <= EVENT_STRING_BYTES_MAX) return text;
  const bytes = Buffer.from(text);
  let end = EVENT_STRING_BYTES_MAX;
  // Not within a character: its part would be written as another one, of three bytes.
  while ((bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
