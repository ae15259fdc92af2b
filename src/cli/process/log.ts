/** The log of long-running commands on stderr: lines for people on a terminal, else one JSON object a line. */
import { type Logger, pino } from 'pino';
import type { Settings } from '../../config/settings.js';
import { LOG_WAITING_BYTES_MAX } from '../../limits.js';
import { logLine } from '../render/log-line.js';
import { choosePalette } from '../render/palette.js';

export function openLog(settings: Settings, name: string): Logger {
  // Synchronous, because the last lines before a sudden exit are the ones that matter.
  const destination = pino.destination({ dest: 2, sync: true, maxLength: LOG_WAITING_BYTES_MAX });
  // If the terminal closes or the reader goes, the program goes on without a log, and can still end in order.
  destination.on('error', () => {});
  const options = { name, level: settings['log.level'] };
  if (process.stderr.isTTY !== true) return pino(options, destination);
  const palette = choosePalette(process.stderr, process.env, true);
  return pino(options, { write: (json: string) => destination.write(logLine(json, palette)) });
}
