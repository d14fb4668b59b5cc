/** Node's module hooks for emulated-cuda.mjs: see there. What the copy imports is found from where the package really lies. */
let staged;
let original;

export function initialize(data) {
  ({ staged, original } = data);
}

export function resolve(specifier, context, next) {
  if (specifier === '@xgen-small/kernels') return { url: `${staged}/index.js`, format: 'module', shortCircuit: true };
  if (!context.parentURL?.startsWith(staged) || specifier.startsWith('.')) return next(specifier, context);
  return next(specifier, { ...context, parentURL: `${original}/dist/index.js` });
}
