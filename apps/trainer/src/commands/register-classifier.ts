/** The command line of `xgen classifier`. */
import { Option, type Command } from 'commander';
import { interruptible } from '../terminal/interruptible.js';
import { positiveInteger, wholeNumber } from '../terminal/option-values.js';
import type { ClassifierApplyOptions } from './classifier-apply.js';
import type { ClassifierTrainOptions } from './classifier-train.js';

const trainHelp = `
Labelled files are JSON Lines (.jsonl, also .gz and .zst) or Parquet with a text and a label in each record; or
label=path, where everything in the path (a folder of texts, too) has that label. A fifth of the texts, chosen by
hash, is not trained on: it calibrates the probabilities and measures the result.

  xgen classifier train graded.jsonl -o quality.classifier
  xgen classifier train --kind domain code=src docs=pages.parquet -o domains.classifier

In a recipe: curation.quality: [{ method: 'classifier', model: 'quality.classifier', label: 'high' }]
             curation.domains: { method: 'classifier', model: 'domains.classifier' }`;

const applyHelp = `
First the classifiers, two or more are averaged, then the files: JSON Lines (.jsonl, also .gz and .zst), Parquet, or folders of
them. Each comes out under its name in the output folder with the fields "predicted" and "predictedProbability"; with
--label, with "score", the probability of that label. Stopped or killed, the same command goes on with the next file.

  xgen classifier apply quality.classifier crawl/ --label high -o scored`;

const textField = () => new Option('--text-field <name>', 'field or column with the text').default('text');
const onBadInput = (choice: 'fail' | 'skip') =>
  new Option('--on-bad-input <what>', 'what to do about records without text or that cannot be read')
    .choices(['fail', 'skip'])
    .default(choice);

export function addClassifierCommands(program: Command): void {
  const classifier = program.command('classifier').description('classifiers of quality and domain: train, apply');
  classifier
    .command('train')
    .description('train a classifier from labelled texts, and say how good it is on texts held out')
    .argument('<files...>', 'labelled files, or label=path')
    .requiredOption('-o, --output <file>', "the classifier's file, replaced when it is there")
    .addOption(new Option('--kind <kind>', 'what its labels are for').choices(['quality', 'domain']).default('quality'))
    .option('--label <label>', 'of a quality classifier: the label whose probability is the quality', 'high')
    .addOption(textField())
    .option('--label-field <name>', 'field or column with the label', 'label')
    .option('--examples <number>', 'texts of a label at most, chosen by hash', positiveInteger, 20_000)
    .option('--seed <number>', 'of what is held out and of the training', wholeNumber, 0)
    .addOption(onBadInput('fail'))
    .addHelpText('after', trainHelp)
    .action((files: string[], options: ClassifierTrainOptions) =>
      interruptible(async (signal) =>
        (await import('./classifier-train.js')).classifierTrainCommand(files, options, signal),
      ),
    );
  classifier
    .command('apply')
    .description('add scores or labels to the records of files')
    .argument('<classifiers and files...>', 'files that train wrote, then what to classify')
    .requiredOption('-o, --output <folder>', 'where the files go')
    .option('--label <label>', 'write the probability of this label, instead of the most probable label')
    .option('--column <name>', 'name of the new field (default: score or predicted)')
    .addOption(textField())
    .addOption(onBadInput('skip'))
    .addHelpText('after', applyHelp)
    .action((paths: string[], options: ClassifierApplyOptions) =>
      interruptible(async (signal) =>
        (await import('./classifier-apply.js')).classifierApplyCommand(paths, options, signal),
      ),
    );
}
