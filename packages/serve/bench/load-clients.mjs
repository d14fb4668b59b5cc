// The clients of load.mjs: streams all prompts at once, asks for /health every 20 ms meanwhile, and reports milliseconds.
const url = process.argv[2];

async function ask(prompt, newTokens, firstTokens) {
  const start = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'bench', prompt, max_tokens: newTokens, temperature: 0, stream: true }),
  });
  let first = true;
  for await (const _ of response.body) {
    if (first) firstTokens.push(performance.now() - start);
    first = false;
  }
}

process.on('message', async ({ prompts, newTokens }) => {
  const start = performance.now();
  const firstTokens = [];
  const health = [];
  let milliseconds = 0;
  const all = Promise.all(prompts.map((prompt) => ask(prompt, newTokens, firstTokens))).then(() => {
    milliseconds = performance.now() - start;
  });
  while (milliseconds === 0) {
    const asked = performance.now();
    await (await fetch(`${url}/health`)).text();
    health.push(performance.now() - asked);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await all;
  process.send({ milliseconds, firstTokens, health });
});
