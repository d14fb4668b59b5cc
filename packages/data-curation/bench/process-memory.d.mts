export function watchMemory(
  pid: number,
  milliseconds?: number,
): () => { peakMebibytes: number; residentMebibytes: number };
