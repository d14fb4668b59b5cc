/** Runs tasks ahead, a few at a time, and yields their results in the order of the tasks. */
export async function* inOrder<Task, Result>(
  tasks: Iterable<Task> | AsyncIterable<Task>,
  run: (task: Task) => Promise<Result>,
  ahead: number,
): AsyncGenerator<{ task: Task; result: Result }> {
  const queue: { task: Task; result: Promise<Result> }[] = [];
  const oldest = async () => {
    const { task, result } = queue.shift() as (typeof queue)[number];
    return { task, result: await result };
  };
  for await (const task of tasks) {
    const result = run(task);
    // A failure surfaces when its turn comes; until then it must not count as unhandled.
    result.catch(() => undefined);
    queue.push({ task, result });
    if (queue.length >= ahead) yield await oldest();
  }
  while (queue.length > 0) yield await oldest();
}
