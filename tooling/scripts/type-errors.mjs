// What `tsc --noEmit` says of a project, for several projects in one process: each has a program of its own, by its own tsconfig; only
// declarations are read once.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/** The projects that a package's script checks: `tsc --noEmit [-p folder]`, one after another. */
export function projectsOf(folder) {
  const script = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).scripts?.typecheck;
  if (script === undefined) return [];
  return script.split('&&').map((command) => {
    const match = /^tsc --noEmit(?: -p (\S+))?$/.exec(command.trim());
    if (match === null)
      throw new Error(`${folder}: typecheck is ${command}; only tsc --noEmit [-p folder] is known here.`);
    return join(folder, match[1] ?? '.', 'tsconfig.json');
  });
}

/** Declarations by name and format, as `tsc --build` shares them between projects. */
const declarations = new Map();

/** What `tsc --noEmit -p config` reports. */
export function typeErrors(config) {
  const broken = [];
  const parsed = ts.getParsedCommandLineOfConfigFile(
    config,
    { noEmit: true },
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => broken.push(diagnostic) },
  );
  if (parsed === undefined) return broken;
  const host = ts.createCompilerHost(parsed.options);
  const read = host.getSourceFile;
  host.getSourceFile = (name, options, ...rest) => {
    if (!ts.isDeclarationFileName(name)) return read(name, options, ...rest);
    const key = `${name}\0${JSON.stringify(options)}`;
    if (!declarations.has(key)) declarations.set(key, read(name, options, ...rest));
    return declarations.get(key);
  };
  const program = ts.createProgram({
    rootNames: parsed.fileNames,
    options: parsed.options,
    host,
    projectReferences: parsed.projectReferences,
    configFileParsingDiagnostics: ts.getConfigFileParsingDiagnostics(parsed),
  });
  return [...broken, ...ts.getPreEmitDiagnostics(program)];
}
