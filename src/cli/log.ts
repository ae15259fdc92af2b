/** The log of long-running commands: one JSON object a line on stderr. */
import { type Logger, pino } from 'pino';
import type { Settings } from '../config/settings.js';

export function openLog(settings: Settings, name: string): Logger {
  // Synchronous: the last lines before an end at once are those that matter.
  return pino({ name, level: settings['log.level'] }, pino.destination({ dest: 2, sync: true }));
}
