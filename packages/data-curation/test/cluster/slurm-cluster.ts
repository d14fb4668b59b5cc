/**
 * A Slurm cluster of one controller and two node daemons on this machine, in a folder of its own, on ports that were free. It needs
 * Debian's packages (slurmctld, slurmd, slurm-client), whose slurmd runs several times on one machine, but no systemd, no munge and no
 * free time: `auth/none` and short timers do. `stop` ends every process that belongs to the folder, whatever became of the test.
 */

import { spawn } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import { mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { hostname, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const nodeNames = ['n1', 'n2'] as const;
export type NodeName = (typeof nodeNames)[number];

/** Undefined when a program is missing. */
function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

export function missingPrograms(): string[] {
  return ['slurmctld', 'slurmd', 'sbatch', 'squeue', 'scontrol', 'sinfo'].filter(
    (name) => findProgram(name) === undefined,
  );
}

export class SlurmCluster {
  private constructor(
    readonly folder: string,
    readonly environment: NodeJS.ProcessEnv,
  ) {}

  static async start(folder: string): Promise<SlurmCluster> {
    await mkdir(join(folder, 'state'), { recursive: true });
    for (const node of nodeNames) await mkdir(join(folder, `spool-${node}`));
    const configuration = join(folder, 'slurm.conf');
    await writeFile(configuration, await configurationText(folder));
    const cluster = new SlurmCluster(folder, { ...process.env, SLURM_CONF: configuration });
    cluster.#spawn('slurmctld', ['-D', '-c', '-i']);
    for (const node of nodeNames) cluster.startNode(node);
    return cluster;
  }

  startNode(node: NodeName): void {
    this.#spawn('slurmd', ['-D', '-N', node], node);
  }

  /** All at once, as if the power had gone: the daemon, the supervisors of its jobs and the jobs. */
  async killNode(node: NodeName): Promise<void> {
    await killAll(() => this.#processes(node));
  }

  async stop(): Promise<void> {
    await killAll(() => this.#processes());
  }

  /** Slurm's word for a node, for instance `idle` or `down`. */
  async nodeState(node: NodeName): Promise<string> {
    return (await this.call('sinfo', ['--noheader', `--nodes=${node}`, '--format=%T'])).trim();
  }

  /** What a command of Slurm's prints. */
  async call(program: string, args: readonly string[]): Promise<string> {
    const child = spawn(program, args, { env: this.environment, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
    await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
    return printed;
  }

  /** The ends of the daemons' logs, for a test that fails. */
  async logs(): Promise<string> {
    const names = (await readdir(this.folder)).filter((name) => name.endsWith('.log') || name.endsWith('.out'));
    const texts = await Promise.all(names.map((name) => readFile(join(this.folder, name), 'utf8')));
    return names.map((name, index) => `${name}:\n${texts[index].slice(-3000)}`).join('\n\n');
  }

  #spawn(program: string, args: readonly string[], node?: NodeName): void {
    const output = openSync(join(this.folder, `${node ?? program}.out`), 'a');
    spawn(findProgram(program)!, args, {
      env: this.environment,
      stdio: ['ignore', output, output],
      detached: true,
    });
  }

  /** Processes of one node or of the whole cluster: known by the log that they hold open, or by their environment. */
  async #processes(node?: NodeName): Promise<number[]> {
    const logs = node === undefined ? `${this.folder}/` : join(this.folder, `slurmd-${node}.log`);
    const found: number[] = [];
    for (const name of await readdir('/proc')) {
      const pid = Number(name);
      if (!Number.isInteger(pid) || pid === process.pid) continue;
      const environment = await readFile(`/proc/${name}/environ`, 'utf8').catch(() => '');
      const variables = environment.split('\0');
      const isOfCluster = variables.includes(`SLURM_CONF=${this.environment.SLURM_CONF}`);
      const isOfNode = node === undefined || variables.includes(`SLURMD_NODENAME=${node}`);
      if ((isOfCluster && isOfNode) || (await holdsOpen(name, logs))) found.push(pid);
    }
    return found;
  }
}

async function holdsOpen(process_: string, prefix: string): Promise<boolean> {
  const folder = `/proc/${process_}/fd`;
  for (const descriptor of await readdir(folder).catch((): string[] => [])) {
    const target = await readlink(join(folder, descriptor)).catch(() => '');
    if (target.startsWith(prefix)) return true;
  }
  return false;
}

async function killAll(find: () => Promise<number[]>): Promise<void> {
  for (let processes = await find(); processes.length > 0; processes = await find()) {
    for (const pid of processes) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended meanwhile.
      }
    }
    await sleep(50);
  }
}

async function configurationText(folder: string): Promise<string> {
  const [controllerPort, ...nodePorts] = await freePorts(1 + nodeNames.length);
  const user = userInfo().username;
  const lines = [
    'ClusterName=test',
    `SlurmctldHost=${hostname()}(127.0.0.1)`,
    `SlurmctldPort=${controllerPort}`,
    `SlurmUser=${user}`,
    `SlurmdUser=${user}`,
    'AuthType=auth/none',
    'CredType=cred/none',
    // How long a job put back in the queue waits.
    'AuthInfo=cred_expire=5',
    'ProctrackType=proctrack/linuxproc',
    'TaskPlugin=task/none',
    'JobAcctGatherType=jobacct_gather/none',
    'MpiDefault=none',
    'SelectType=select/cons_tres',
    'SelectTypeParameters=CR_Core',
    'SlurmdParameters=config_overrides',
    'SchedulerParameters=sched_interval=1,batch_sched_delay=1',
    `StateSaveLocation=${folder}/state`,
    `SlurmdSpoolDir=${folder}/spool-%n`,
    `SlurmctldPidFile=${folder}/slurmctld.pid`,
    `SlurmdPidFile=${folder}/slurmd-%n.pid`,
    `SlurmctldLogFile=${folder}/slurmctld.log`,
    `SlurmdLogFile=${folder}/slurmd-%n.log`,
    'MessageTimeout=3',
    // Seconds of silence after which a node is down and its jobs go back in the queue.
    'SlurmdTimeout=6',
    'KillWait=2',
    'ReturnToService=2',
    ...nodeNames.map(
      (node, index) => `NodeName=${node} NodeHostname=${hostname()} NodeAddr=127.0.0.1 Port=${nodePorts[index]} CPUs=1`,
    ),
    'PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP',
  ];
  return `${lines.join('\n')}\n`;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports.push((server.address() as AddressInfo).port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
