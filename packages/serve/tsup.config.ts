import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { defineConfig, type Options } from 'tsup';

type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/** Bundles the chat page's script and style into one HTML file beside the module. */
const chatPage: Plugin = {
  name: 'chat-page',
  setup(build) {
    build.onEnd(async () => {
      const bundle = async (entry: string): Promise<string> => {
        const { outputFiles } = await build.esbuild.build({
          entryPoints: [`src/chat-page/${entry}`],
          bundle: true,
          minify: true,
          write: false,
          format: 'iife',
          target: ['chrome123', 'firefox120', 'safari17.5'],
          charset: 'utf8',
        });
        return outputFiles[0].text.trim().replaceAll('</', '<\\/');
      };
      const page = await readFile('src/chat-page/page.html', 'utf8');
      const style = await bundle('page.css');
      const script = await bundle('page.ts');
      // Functions, because a plain replacement would read the script's dollar signs.
      const whole = page.replace('/* page.css */', () => style).replace('/* page.ts */', () => script);
      await mkdir('dist', { recursive: true });
      await writeFile('dist/chat-page.html', whole);
    });
  },
};

export default defineConfig({
  entry: ['src/index.ts'],
  format: ['esm'],
  target: 'node20',
  dts: true,
  clean: true,
  sourcemap: false,
  esbuildPlugins: [chatPage],
});
