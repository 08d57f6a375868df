/** One event of a stream of server-sent events. */
export interface ServerEvent {
  event: string; // "message" if the server named none
  data: string;
  id: string; // the last one that the stream has told
}

/**
 * Reads a stream of server-sent events (HTML Living Standard, section 9.2.6) that comes in pieces cut anywhere. An
 * event that the stream's end cuts short is not an event.
 */
export class EventParser {
  /** Milliseconds to wait before the next connection, if the stream has said so. */
  retry = 0;
  #rest = '';
  #event = '';
  #data: string[] = [];
  #id = '';
  #begun = false;

  push(text: string): ServerEvent[] {
    this.#rest += text;
    if (!this.#begun && this.#rest !== '') {
      this.#begun = true;
      this.#rest = this.#rest.replace(/^\uFEFF/, '');
    }
    const events: ServerEvent[] = [];
    // A CR at the end of a piece may be half of a line's end: it waits for the next piece.
    for (let end; (end = /\r\n|\n|\r(?=[^])/.exec(this.#rest)); ) {
      const event = this.#line(this.#rest.slice(0, end.index));
      this.#rest = this.#rest.slice(end.index + end[0].length);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): ServerEvent | undefined {
    if (line === '') {
      const event = { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id };
      const empty = this.#data.length === 0;
      this.#event = '';
      this.#data = [];
      return empty ? undefined : event;
    }
    const [, name, value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line)!;
    if (name === 'event') this.#event = value;
    else if (name === 'data') this.#data.push(value);
    else if (name === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    return undefined;
  }
}
