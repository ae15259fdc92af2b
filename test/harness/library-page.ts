/** A page of an origin of its own in headless Chromium, which has the client library as browsers get it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { builtFile } from '../../src/package-files.js';
import { scratchDirectory } from './files/scratch-directory.js';
import { needs } from './tools.js';

const CHROMIUM = 'chromium';
const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
  ...['--disable-extensions', '--disable-background-networking', '--disable-sync', '--mute-audio'],
];

interface Outcome {
  readonly result?: unknown;
  readonly error?: string;
}

export class LibraryPage {
  origin = '';
  /** Why there is no browser, or false. */
  readonly missing: string | false = needs(`command -v ${CHROMIUM}`, CHROMIUM);
  readonly #server = createServer((request, response) => this.#answer(request, response));
  #body = '';
  #done: (outcome: Outcome) => void = () => {};

  static async start(): Promise<LibraryPage> {
    const page = new LibraryPage();
    await new Promise<void>((resolve) => page.#server.listen(0, '127.0.0.1', resolve));
    page.origin = `http://127.0.0.1:${(page.#server.address() as AddressInfo).port}`;
    return page;
  }

  /**
   * Opens the page in a browser of its own. Resolves with what the script returns, which must be JSON.
   * @param script the body of an async function of `connect` and `given`
   */
  async run(script: string, given: unknown): Promise<unknown> {
    this.#body = `import { connect } from './http.js';
      const given = ${JSON.stringify(given)};
      const run = async () => { ${script} };
      const outcome = await run().then((result) => ({ result }), (error) => ({ error: String(error) }));
      await fetch('./done', { method: 'POST', body: JSON.stringify(outcome) });`;
    const profile = scratchDirectory('chromium');
    const browser = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${join(profile, 'profile')}`, `${this.origin}/`], {
      stdio: 'ignore',
      detached: true,
    });
    try {
      const { result, error } = await Promise.race([
        new Promise<Outcome>((resolve) => {
          this.#done = resolve;
        }),
        ended(browser),
      ]);
      if (error !== undefined) throw new Error(error);
      return result;
    } finally {
      // Its other processes write into the profile for as long as they live.
      if (browser.exitCode === null && browser.signalCode === null) process.kill(-browser.pid!, 'SIGKILL');
      await ended(browser);
      rmSync(profile, { recursive: true, force: true, maxRetries: 20 });
    }
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const send = (type: string, body: string | Buffer) => response.writeHead(200, { 'content-type': type }).end(body);
    if (request.url === '/') send('text/html', '<!doctype html><script type="module" src="./page.js"></script>');
    else if (request.url === '/page.js') send('text/javascript', this.#body);
    else if (request.url === '/http.js') send('text/javascript', readFileSync(builtFile('client/http.js')));
    else if (request.url === '/done') {
      let text = '';
      request.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      request.on('end', () => {
        send('text/plain', '');
        this.#done(JSON.parse(text) as Outcome);
      });
    } else response.writeHead(404).end();
  }
}

async function ended(browser: ChildProcess): Promise<Outcome> {
  if (browser.exitCode === null && browser.signalCode === null)
    await new Promise((resolve) => browser.once('close', resolve));
  return { error: `the browser ended with ${browser.exitCode ?? browser.signalCode}` };
}
