// Builds the corpus of `curate.mjs`: at least 1 GB of real text from Debian's packages (kernel sources; HTML documentation of
// languages and databases), fetched with apt-get and unpacked without installing anything. The recipe is committed, the text is not.
//
//   node bench/build-corpus.mjs <folder>        (Debian 12, network; about 400 MB of downloads)
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const folder = resolve(process.argv[2] ?? 'bench-corpus');
const packages = [
  'linux-source-6.1',
  'python3.11-doc',
  'postgresql-doc-15',
  'git-doc',
  'openjdk-17-doc',
  'rust-doc',
  'libboost1.74-doc',
];

const downloads = join(folder, 'downloads');
mkdirSync(downloads, { recursive: true });
const versions = {};
for (const name of packages) {
  const target = join(folder, 'text', name);
  const policy = execFileSync('apt-cache', ['policy', name], { encoding: 'utf8' });
  versions[name] = /Candidate: (\S+)/.exec(policy)?.[1];
  if (existsSync(join(target, '.done'))) continue;
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  execFileSync('apt-get', ['download', name], { cwd: downloads, stdio: ['ignore', 'ignore', 'inherit'] });
  const file = readdirSync(downloads).find((entry) => entry.startsWith(`${name}_`));
  if (file === undefined) throw new Error(`apt-get gave no file for ${name}`);
  execFileSync('dpkg-deb', ['-x', join(downloads, file), target]);
  rmSync(join(downloads, file));
  const archive = join(target, 'usr/src/linux-source-6.1.tar.xz');
  if (existsSync(archive)) {
    execFileSync('tar', ['-xJf', archive, '-C', target]);
    rmSync(archive);
  }
  writeFileSync(join(target, '.done'), '');
  console.log(`${name} ${versions[name]}`);
}
writeFileSync(join(folder, 'versions.json'), `${JSON.stringify(versions, null, 2)}\n`);
