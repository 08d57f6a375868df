import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

type Params = Record<string, unknown>;

/** The path of a Chromium, or undefined. CHROMIUM in the environment names one that is not on the PATH. */
export function chromium(): string | undefined {
  if (process.env['CHROMIUM']) return process.env['CHROMIUM'];
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const places = (process.env['PATH'] ?? '').split(delimiter);
  return places.flatMap((dir) => names.map((name) => join(dir, name))).find(executable);
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A headless Chromium with a profile of its own, driven by the DevTools protocol over a pipe. */
export class Browser {
  #process: ChildProcess;
  #profile: string;
  #input: Writable;
  #said = '';
  #last = 0;
  #calls = new Map<number, { resolve: (result: Params) => void; reject: (error: Error) => void }>();
  /** Called with each event of each page. */
  #listeners = new Set<(session: string, method: string, params: Params) => void>();

  private constructor(child: ChildProcess, profile: string) {
    this.#process = child;
    this.#profile = profile;
    this.#input = child.stdio[3] as Writable;
    this.#input.on('error', () => {});
    child.stderr!.on('data', (text: Buffer) => (this.#said = (this.#said + String(text)).slice(-2000)));
    let rest = '';
    (child.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop()!;
      for (const message of messages) this.#receive(JSON.parse(message));
    });
    child.on('exit', (code) => {
      for (const call of this.#calls.values()) call.reject(new Error(`Chromium ended with ${code}: ${this.#said}`));
      this.#calls.clear();
    });
  }

  static async launch(path: string): Promise<Browser> {
    const profile = await mkdtemp(join(tmpdir(), 'onceway-chromium-'));
    const flags = ['headless', 'no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run', 'disable-background-networking', 'disable-component-update', 'disable-sync', 'disable-dev-shm-usage', 'remote-debugging-pipe'];
    const child = spawn(path, [...flags.map((f) => `--${f}`), `--user-data-dir=${profile}`], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });
    const browser = new Browser(child, profile);
    await browser.send('Browser.getVersion');
    return browser;
  }

  send(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#calls.set(id, { resolve, reject });
      this.#input.write(JSON.stringify({ id, method, params, sessionId }) + '\0');
    });
  }

  #receive(message: { id?: number; result?: Params; error?: { message: string }; method?: string; params?: Params; sessionId?: string }): void {
    if (message.id === undefined) {
      for (const listener of this.#listeners) listener(message.sessionId ?? '', message.method!, message.params!);
      return;
    }
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    if (message.error) call?.reject(new Error(message.error.message));
    else call?.resolve(message.result!);
  }

  listen(listener: (session: string, method: string, params: Params) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes a user, whose tabs share what is stored, and share it with nobody else. */
  async user(): Promise<(url: string) => Promise<Tab>> {
    const { browserContextId } = await this.send('Target.createBrowserContext');
    return (url) => this.#open(url, browserContextId);
  }

  async #open(url: string, browserContextId: unknown): Promise<Tab> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const tab = new Tab(this, targetId as string, sessionId as string);
    await tab.enable();
    await tab.go(url);
    return tab;
  }

  async close(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const gone = once(this.#process, 'exit');
      this.#process.kill('SIGKILL');
      await gone;
    }
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

export class Tab {
  /** What the page has asked the network for, since it was opened: method and path. */
  readonly requests: { method: string; path: string; body: string }[] = [];
  #browser: Browser;
  #target: string;
  #session: string;

  constructor(browser: Browser, target: string, session: string) {
    this.#browser = browser;
    this.#target = target;
    this.#session = session;
    browser.listen((from, method, params) => {
      if (from !== session || method !== 'Network.requestWillBeSent') return;
      const request = params['request'] as { method: string; url: string; postData?: string };
      this.requests.push({ method: request.method, path: new URL(request.url).pathname, body: request.postData ?? '' });
    });
  }

  #send(method: string, params: Params = {}): Promise<Params> {
    return this.#browser.send(method, params, this.#session);
  }

  async enable(): Promise<void> {
    await Promise.all([this.#send('Page.enable'), this.#send('Network.enable'), this.#send('Runtime.enable')]);
  }

  /** Loads a page, and returns when its modules have run. */
  async go(url: string): Promise<void> {
    await this.#loaded(() => this.#send('Page.navigate', { url }));
  }

  async reload(): Promise<void> {
    await this.#loaded(() => this.#send('Page.reload'));
  }

  async #loaded(act: () => Promise<unknown>): Promise<void> {
    let end = () => {};
    const loaded = new Promise<void>((resolve) => {
      end = this.#browser.listen((session, method) => {
        if (session === this.#session && method === 'Page.loadEventFired') resolve();
      });
    });
    try {
      await act();
      await loaded;
    } finally {
      end();
    }
  }

  /** Evaluates an expression in the page, awaits it, and returns its value as JSON can say it. */
  async run<T>(expression: string): Promise<T> {
    const answer = await this.#send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    const failure = answer['exceptionDetails'] as { text: string; exception?: { description?: string } } | undefined;
    if (failure) throw new Error(`${failure.text} ${failure.exception?.description ?? ''}`);
    return (answer['result'] as { value: T }).value;
  }

  /** Takes the tab off the network, or back, and returns when the page knows. */
  async offline(offline: boolean): Promise<void> {
    await this.#send('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
    while ((await this.run<boolean>('navigator.onLine')) === offline);
  }

  /** Closes the tab as a crash does: without asking the page. */
  async close(): Promise<void> {
    await this.#browser.send('Target.closeTarget', { targetId: this.#target });
  }
}
