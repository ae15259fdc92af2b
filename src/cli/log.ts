/** The log of long-running commands: one JSON object a line on stderr. */
import { type Logger, pino } from 'pino';
import type { Settings } from '../config/settings.js';
import { LOG_WAITING_BYTES_MAX } from '../limits.js';

export function openLog(settings: Settings, name: string): Logger {
  // Synchronous: the last lines before an end at once are those that matter.
  const destination = pino.destination({ dest: 2, sync: true, maxLength: LOG_WAITING_BYTES_MAX });
  // A terminal that closed, a reader that went: what is done goes on without, above all ending in order.
  destination.on('error', () => {});
  return pino({ name, level: settings['log.level'] }, destination);
}
