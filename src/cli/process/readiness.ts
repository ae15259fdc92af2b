/** Tells systemd that this process is ready. */
import { spawn } from 'node:child_process';

/**
 * Where the unit waits for it (Type=notify): who started the unit, and units behind it, then find a broker that listens.
 * Node has no sockets of the kind that it takes, so that systemd's own program tells it.
 */
export function tellReady(): void {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  const telling = spawn('systemd-notify', ['--ready'], { stdio: 'ignore' });
  // Without it systemd gives up after a while, and says so.
  telling.on('error', () => undefined);
  telling.unref();
}
