/** `backplane doctor`: checks by trial what this node can record, and how to mend what it cannot. */
import type { Command } from 'commander';
import type { SettingKey } from '../config/settings.js';
import type { Check } from '../sensor-agent/doctor/doctor.js';
import { compileRules } from '../sensor-agent/redaction/rule.js';
import { jsonLine, outputOption, tableWidth } from './lists/list.js';
import { type Column, fittedTable, wrapText } from './render/columns.js';
import { safeText } from './render/text.js';
import { addSettingFlags, commandConfig } from './setting-flags.js';

const KEYS: readonly SettingKey[] = [
  'redaction.rules',
  'redaction.off',
  'agent.containers',
  'agent.kubelet.token',
  'agent.kubelet.ca',
];

const COLUMNS: readonly Column[] = [{ title: 'STATE' }, { title: 'WHAT' }, { title: 'FOUND', wraps: true }];
const MEND_INDENT = 2;

export function define(command: Command): void {
  addSettingFlags(command, KEYS);
  command.addOption(outputOption()).action(async () => {
    const { runDoctor } = await import('../sensor-agent/doctor/doctor.js');
    const { settings } = await commandConfig(command, KEYS);
    const checks = await runDoctor(
      compileRules({ rules: settings['redaction.rules'], off: settings['redaction.off'] }),
      settings['agent.containers'],
      { token: settings['agent.kubelet.token'], ca: settings['agent.kubelet.ca'] },
    );
    const { output } = command.opts<{ output: string }>();
    const text =
      output === 'json' ? checks.map((check) => jsonLine(check)).join('') : doctorText(checks, tableWidth(output));
    process.stdout.write(text);
    process.exitCode = recordability(checks) === 'nothing' ? 1 : 0;
  });
}

/** A table, the mends below it, and a verdict. */
export function doctorText(checks: readonly Check[], width?: number): string {
  const rows = checks.map((check) => [check.state, check.name, check.detail].map(safeText));
  const mends = checks.flatMap((check) =>
    check.state !== 'ok' && check.mend !== undefined
      ? wrapText(`${safeText(check.name)}: ${safeText(check.mend)}`, (width ?? Number.MAX_SAFE_INTEGER) - MEND_INDENT)
      : [],
  );
  const mendText =
    mends.length === 0 ? '' : `\nTo mend:\n${mends.map((line) => `${' '.repeat(MEND_INDENT)}${line}\n`).join('')}`;
  return `${fittedTable(COLUMNS, rows, width)}${mendText}\n${VERDICTS[recordability(checks)]}\n`;
}

const VERDICTS = {
  kernel: 'This node can record what its kernel reports.',
  polling: 'This node can only poll /proc: it sees a part of the short-lived processes, and no network.',
  nothing: 'This node can record nothing.',
} as const;

/** 'kernel' when one of the kernel's events can be enabled; else by polling /proc if that is open. */
function recordability(checks: readonly Check[]): keyof typeof VERDICTS {
  const kernel = checks.some((check) => check.name.startsWith('event ') && check.state === 'ok');
  if (kernel) return 'kernel';
  const polling = checks.some((check) => check.name === 'processes in /proc' && check.state !== 'missing');
  return polling ? 'polling' : 'nothing';
}
