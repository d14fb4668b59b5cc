/** Classifies files in a process of its own, which may be killed. */

import { classifyFiles, TextClassifier } from '../../dist/index.js';

const [model, outputFolder, ...paths] = process.argv.slice(2);
await classifyFiles({ classifiers: [await TextClassifier.load(model)], paths, outputFolder });
