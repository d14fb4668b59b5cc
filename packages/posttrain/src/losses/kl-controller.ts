/**
 * The proportional controller of the KL coefficient (arXiv 1909.08593, section 2.2): the error is clipped to ±20 %, and
 * the coefficient moves by that share over `horizon` samples.
 */
export function nextKlCoefficient(
  coefficient: number,
  observedKl: number,
  samples: number,
  { target, horizon }: { target: number; horizon: number },
): number {
  const error = Math.min(Math.max(observedKl / target - 1, -0.2), 0.2);
  return coefficient * (1 + (error * samples) / horizon);
}
