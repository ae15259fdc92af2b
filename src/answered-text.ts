/** What another program answers by HTTP, as a text of a bounded length. */
import type { ClientRequest } from 'node:http';

/** Sends a request without a body. Rejects where the status is not 200, the body is longer, or the request is aborted. */
export function answeredText(asked: ClientRequest, bytesMax: number): Promise<string> {
  return new Promise((resolve, reject) => {
    asked.on('response', (answer) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bytesMax) asked.destroy(new Error(`the answer has more than ${bytesMax} bytes`));
        else chunks.push(chunk);
      });
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
        else reject(new Error(`${asked.method} ${asked.path} is answered with status ${answer.statusCode}`));
      });
    });
    asked.on('error', reject);
    asked.end();
  });
}
