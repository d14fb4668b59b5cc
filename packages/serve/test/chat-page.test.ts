import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { GenerationEngine, GenerationEvent, GenerationRequest } from '@xgen-small/model-core';
import { chromium, type BrowserContext, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer, type Server } from '../src/index.js';
import { tinyModel } from './tiny-model.js';

const browser = '/usr/bin/chromium';
const answer = 'A **bold** answer.\n\n```js\nconst x = 1;\n```\n\n<img src=x onerror=alert(1)>';

/** The machine may be busy: only the test's own limit counts. */
const patience = { timeout: 110_000 };

/** Writes the same answer to everyone, a token a step, and keeps what it was asked. */
class ScriptedEngine {
  asked: GenerationRequest[] = [];
  endless = false;
  active = 0;
  waiting = 0;
  private readonly live = new Map<string, number>();
  constructor(private readonly tokens: readonly number[]) {}
  add(request: GenerationRequest): string {
    const id = `r${this.asked.push(request)}`;
    this.live.set(id, 0);
    return id;
  }
  cancel(id: string): void {
    this.live.delete(id);
  }
  get running(): number {
    return this.live.size;
  }
  step(): GenerationEvent[] {
    return [...this.live].map(([id, at]) => {
      const last = !this.endless && at === this.tokens.length - 1;
      if (last) this.live.delete(id);
      else this.live.set(id, at + 1);
      const token = this.tokens[at % this.tokens.length];
      return { id, token, logProbability: 0, ...(last ? { finishReason: 'length' as const } : {}) };
    });
  }
}

describe('the chat page', () => {
  it('is one file that names its model and lets nothing in from elsewhere', async () => {
    const tiny = await tinyModel();
    const server = createServer({ ...tiny, modelName: 'a<b>' });
    const response = await server.fetch(new Request('http://localhost/'));
    const html = await response.text();
    expect(response.headers.get('content-type')).toContain('text/html');
    expect(response.headers.get('content-security-policy')).toContain("connect-src 'self'");
    expect(html).toContain('<title>a&#60;b&#62;</title>');
    expect(html).not.toMatch(/(?:src|href)="(?!data:|#)/);
    expect(html).not.toMatch(/page\.(?:css|ts)/);
    await server.close();
    const bare = createServer({ ...tiny, modelName: 'tiny', chatPage: false });
    expect((await bare.fetch(new Request('http://localhost/'))).status).toBe(405);
    await bare.close();
  });
});

const where = existsSync(browser) ? browser : `SKIPPED: there is no ${browser}`;

describe.skipIf(!existsSync(browser))(`the chat page in a browser (${where})`, () => {
  let context: BrowserContext;
  let page: Page;
  let server: Server;
  let engine: ScriptedEngine;
  let url: string;
  const profile = mkdtempSync(path.join(tmpdir(), 'xgen-chat-page-'));
  const foreign: string[] = [];
  const failures: string[] = [];

  beforeAll(async () => {
    const { tokenizer, chatTemplate } = await tinyModel();
    engine = new ScriptedEngine(Array.from(tokenizer.encode(answer)));
    server = createServer({
      engine: engine as unknown as GenerationEngine,
      tokenizer,
      chatTemplate,
      modelName: 'scripted',
      limits: { contextTokens: 4096 },
    });
    ({ url } = await server.listen());
    context = await chromium.launchPersistentContext(profile, {
      executablePath: browser,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
      viewport: { width: 375, height: 700 },
    });
    context.setDefaultTimeout(patience.timeout);
    page = await context.newPage();
    page.on('pageerror', (error) => failures.push(String(error)));
    page.on('dialog', (dialog) => failures.push(dialog.message()));
    page.on('request', (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith('data:')) foreign.push(request.url());
    });
  });
  afterAll(async () => {
    await context.close();
    await server.close();
    rmSync(profile, { recursive: true, force: true });
  });

  const idle = () => page.waitForSelector('.busy', { state: 'detached' });

  it('streams an answer to a message sent with the keyboard, as text and not as HTML', async () => {
    await page.goto(url);
    await expect.poll(() => page.title(), patience).toBe('scripted');
    await page.keyboard.type('Hello');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('you');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.assistant .meta button');
    expect(await page.textContent('.user .body')).toBe('Hello\nyou');
    expect(await page.textContent('.assistant strong')).toBe('bold');
    expect(await page.textContent('.assistant pre')).toBe('const x = 1;');
    expect(await page.textContent('.assistant .body')).toContain('<img src=x onerror=alert(1)>');
    expect(await page.locator('.assistant img').count()).toBe(0);
    expect(await page.textContent('.assistant .meta')).toContain('tokens');
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
  });

  it('sends the settings along, and keeps them', async () => {
    await page.click('#open-settings');
    await page.fill('#temperature', '0.3');
    await page.fill('#top-p', '0.5');
    await page.fill('#max-tokens', '99');
    await page.fill('#system', 'Be brief.');
    await page.keyboard.press('Escape');
    await page.reload();
    await expect.poll(() => page.title(), patience).toBe('scripted');
    await page.fill('#input', 'Again');
    await page.keyboard.press('Enter');
    await idle();
    expect(engine.asked.at(-1)).toMatchObject({ temperature: 0.3, topP: 0.5, maximumNewTokens: 99 });
    const { tokenizer } = await tinyModel();
    expect(tokenizer.decode(Array.from(engine.asked.at(-1)?.promptTokens ?? []))).toContain('Be brief.');
  });

  it('stops on Escape, and the server with it', async () => {
    engine.endless = true;
    await page.fill('#input', 'Go on');
    await page.keyboard.press('Enter');
    await expect.poll(async () => (await page.textContent('.busy .body'))?.length, patience).toBeGreaterThan(20);
    expect(engine.running).toBe(1);
    await page.keyboard.press('Escape');
    await idle();
    await expect.poll(() => engine.running, patience).toBe(0);
    expect(await page.textContent('.assistant:last-child .meta')).toContain('stopped');
    engine.endless = false;
  });

  it('shows what the server refuses, and offers to try again', async () => {
    await page.click('#open-settings');
    await page.fill('#max-tokens', '100000');
    await page.keyboard.press('Escape');
    await page.fill('#input', 'Too much');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#alert:not([hidden])');
    expect(await page.textContent('#alert')).toContain("model's context");
    await page.click('#open-settings');
    await page.click('#reset');
    await page.keyboard.press('Escape');
    const before = engine.asked.length;
    await page.click('#alert button');
    await expect.poll(() => engine.asked.length, patience).toBe(before + 1);
    await idle();
    expect(await page.isHidden('#alert')).toBe(true);
  });

  it('asks nothing of any other server and meets no error', () => {
    expect(foreign).toEqual([]);
    expect(failures).toEqual([]);
  });
});
