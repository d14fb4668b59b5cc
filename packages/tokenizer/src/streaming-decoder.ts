/** Text from ids that arrive one at a time, cut only between characters. */

export class StreamingDecoder {
  private readonly bytesOf: (id: number) => Uint8Array;
  private readonly utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

  /** Use `Tokenizer.createDecoder`. */
  constructor(bytesOf: (id: number) => Uint8Array) {
    this.bytesOf = bytesOf;
  }

  /** The characters that this id completes; often none, when a character spans several tokens. */
  push(id: number): string {
    return this.utf8.decode(this.bytesOf(id), { stream: true });
  }

  /** What is left: U+FFFD for an unfinished character, else nothing. The decoder can be used again. */
  finish(): string {
    return this.utf8.decode();
  }
}
