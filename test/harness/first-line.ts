/** The first line that a program prints: what it writes may come in any number of pieces. */
import type { Readable } from 'node:stream';

/** Without its end. Rejects where the program ends before. */
export function firstLine(stream: Readable): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const take = (chunk: Buffer) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0) return;
      stream.off('data', take);
      resolve(text.slice(0, end));
    };
    stream.on('data', take).once('close', () => reject(new Error(`no whole line: ${text}`)));
  });
}
