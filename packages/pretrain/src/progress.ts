/** What long work reports; the same shape in every package. `completed` never exceeds `total`. */
export interface ProgressEvent {
  task: string;
  completed: number;
  total?: number;
  unit: string;
  detail?: string;
}

export type ProgressListener = (event: ProgressEvent) => void;
