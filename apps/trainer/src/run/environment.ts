/** What this machine is, for reports: a figure without its hardware and versions says little. */
import { readFileSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

export interface MachineDescription {
  platform: string;
  processor: string;
  cores: number;
  memoryBytes: number;
  node: string;
  version: string;
}

export function describeMachine(): MachineDescription {
  const processors = cpus();
  return {
    platform: `${platform()} ${release()} ${arch()}`,
    processor: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryBytes: totalmem(),
    node: process.version,
    version: ownVersion(),
  };
}

export function ownVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const manifest = JSON.parse(readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8')) as {
        name?: string;
        version: string;
      };
      if (manifest.name === '@xgen-small/trainer') return manifest.version;
    } catch {
      // Not there: built (dist) and source lie at different depths.
    }
  }
  return 'unknown';
}
