/** The settings dialog; its values outlive the page, the API key only the tab. */

import type { ChatSettings } from './stream-chat.js';

export interface PageSettings extends ChatSettings {
  system: string;
}

const storageKey = 'xgen-chat-settings';

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

export class Settings {
  private readonly dialog = element<HTMLDialogElement>('settings');
  private readonly temperature = element<HTMLInputElement>('temperature');
  private readonly topP = element<HTMLInputElement>('top-p');
  private readonly maximumTokens = element<HTMLInputElement>('max-tokens');
  private readonly system = element<HTMLTextAreaElement>('system');
  private readonly apiKey = element<HTMLInputElement>('api-key');

  constructor() {
    this.load();
    this.dialog.addEventListener('input', () => this.changed());
    element('reset').addEventListener('click', () => {
      this.fill({});
      this.changed();
    });
    // A click on the backdrop lands on the dialog itself.
    this.dialog.addEventListener('click', (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  get values(): PageSettings {
    const limit = Number.parseInt(this.maximumTokens.value, 10);
    return {
      temperature: Number(this.temperature.value),
      topP: Number(this.topP.value),
      maximumTokens: limit > 0 ? limit : undefined,
      system: this.system.value.trim(),
      apiKey: this.apiKey.value.trim(),
    };
  }

  open(field?: 'api-key'): void {
    this.dialog.showModal();
    if (field) this.apiKey.focus();
  }

  private changed(): void {
    this.showNumbers();
    const { apiKey, ...rest } = this.values;
    try {
      localStorage.setItem(storageKey, JSON.stringify(rest));
      sessionStorage.setItem(storageKey, apiKey);
    } catch {
      // Storage may be switched off; the settings then last as long as the page.
    }
  }

  private load(): void {
    let stored: Partial<PageSettings> = {};
    let apiKey = '';
    try {
      stored = JSON.parse(localStorage.getItem(storageKey) ?? '{}') as Partial<PageSettings>;
      apiKey = sessionStorage.getItem(storageKey) ?? '';
    } catch {
      // As above.
    }
    this.fill(stored);
    this.apiKey.value = apiKey;
  }

  private fill({ temperature = 0.7, topP = 0.95, maximumTokens, system = '' }: Partial<PageSettings>): void {
    this.temperature.value = String(temperature);
    this.topP.value = String(topP);
    this.maximumTokens.value = maximumTokens === undefined ? '' : String(maximumTokens);
    this.system.value = system;
    this.showNumbers();
  }

  private showNumbers(): void {
    for (const input of [this.temperature, this.topP]) {
      const output = document.querySelector<HTMLOutputElement>(`output[for="${input.id}"]`);
      if (output) output.value = Number(input.value).toFixed(2);
    }
  }
}
