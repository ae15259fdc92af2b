/** Starts programs at a pace and says how long each lived. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Started } from './exec-account.js';

const STARTER = `
import json, os, sys, time
given = json.load(sys.stdin)
began, lived = {}, {}
out = os.open('/dev/null', os.O_WRONLY)
os.dup2(sys.stdout.fileno(), 9)
os.dup2(out, 1)
due = start = time.monotonic()
commands, at_once = given['commands'], given['atOnce']
for group in range(0, len(commands), at_once):
    for argv in commands[group:group + at_once]:
        before = time.monotonic()
        pid = os.posix_spawn(argv[0], argv, {'PATH': '/usr/bin:/bin'})
        began[pid] = (len(began) + len(lived), before)
    while began:
        pid, _ = os.wait()
        number, before = began.pop(pid)
        lived[number] = (time.monotonic() - before) * 1e3
    due += given['periodMs'] / 1e3
    time.sleep(max(0, due - time.monotonic()))
took = time.monotonic() - start
os.write(9, json.dumps({'lived': [lived[at] for at in range(len(lived))], 'seconds': took}).encode())
`;

export interface Pace {
  /** From one group to the next; 0: back to back. */
  readonly periodMs: number;
  readonly atOnce: number;
}

/** Starts each command, and waits for it. */
export async function startAll(commands: readonly (readonly string[])[], pace: Pace) {
  const child = spawn('python3', ['-c', STARTER], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify({ commands, ...pace }));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await once(child, 'close');
  const { lived, seconds } = JSON.parse(text) as { lived: number[]; seconds: number };
  const started: Started[] = commands.map((args, at) => ({ args, livedMs: lived[at]! }));
  return { started, perSecond: commands.length / seconds };
}
