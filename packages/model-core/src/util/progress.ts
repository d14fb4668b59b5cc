/** What long work reports; the same shape in every package. */
export interface ProgressEvent {
  task: string;
  completed: number;
  total?: number;
  unit: string;
  detail?: string;
}
