/** Bodies of requests: JSON, bounded in bytes and time, and not compressed. */
import type { IncomingMessage } from 'node:http';
import { BackplaneError, invalid } from '../../../errors.js';
import { HTTP_REQUEST_MS, REQUEST_BYTES_MAX } from '../../../limits.js';
import { shown } from '../../../text/shown.js';
import { repeatedName } from '../../../wire/repeated-names.js';
import { HttpRefusal } from './problem.js';

/**
 * Reads and parses the body. Throws invalid_argument for what is no JSON (400) or declared as something else (415),
 * too_large, deadline_exceeded when it has not arrived in time, cancelled when the caller went.
 */
export async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  return (await readJson(request, REQUEST_BYTES_MAX)).json;
}

/** The same, and how many bytes it took. */
export async function readJson(request: IncomingMessage, bytesMax: number): Promise<{ json: unknown; bytes: number }> {
  checkEncoding('Content-Encoding', request.headers['content-encoding'], 'identity');
  checkEncoding('Transfer-Encoding', request.headers['transfer-encoding'], 'chunked');
  checkType(request.headers['content-type']);
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge(bytesMax);
  const bytes = await readBody(request, bytesMax);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('body', 'is not UTF-8');
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    // The engine's message repeats what was sent.
    const [, at] = /at position (\d+)/.exec((cause as Error).message) ?? [];
    throw invalid('body', `is not JSON${at === undefined ? '' : ` (at character ${Number(at) + 1})`}`);
  }
  const repeated = repeatedName(text);
  if (repeated !== undefined) throw invalid('body', `must have each name once, has ${shown(repeated)} twice`);
  return { json, bytes: bytes.length };
}

/** Nothing is unpacked: a few bytes could become any number. */
function checkEncoding(field: string, encoding: string | undefined, only: string): void {
  if (encoding === undefined || encoding.toLowerCase() === only) return;
  const problem = `${field} must be ${only}, got ${shown(encoding)}: bodies are not unpacked`;
  throw new HttpRefusal(415, 'invalid_argument', problem, { field });
}

/** A page of another site can send a form or text without asking first, but not this type. */
function checkType(type: string | undefined): void {
  if (/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type ?? '')) return;
  const problem = `Content-Type must be application/json, got ${type === undefined ? 'none' : shown(type)}`;
  throw new HttpRefusal(415, 'invalid_argument', problem, { field: 'Content-Type' });
}

function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const timer = setTimeout(() => {
      settle();
      reject(new BackplaneError('deadline_exceeded', `the body must arrive within ${HTTP_REQUEST_MS} ms`));
    }, HTTP_REQUEST_MS);
    const data = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bytesMax) {
        settle();
        reject(tooLarge(bytesMax));
      } else chunks.push(chunk);
    };
    const end = () => {
      settle();
      resolve(Buffer.concat(chunks));
    };
    const close = () => {
      settle();
      reject(new BackplaneError('cancelled', 'the caller went'));
    };
    const settle = () => {
      clearTimeout(timer);
      request.off('data', data).off('end', end).off('close', close).off('error', close);
      // What still comes is read and dropped, so that the answer arrives.
      request.on('error', () => undefined).resume();
    };
    request.on('data', data).on('end', end).on('close', close).on('error', close);
  });
}

function tooLarge(bytesMax: number): BackplaneError {
  return new BackplaneError('too_large', `the body must be at most ${bytesMax} bytes`, { field: 'body' });
}
