// The part of the npm package `phoenix` (1.8) that this client uses; the package ships no types of its own.
declare module "phoenix" {
  type Payload = Record<string, unknown>;

  export interface Push {
    receive(status: "ok" | "error" | "timeout", callback: (response: any) => void): Push;
  }

  export interface Channel {
    state: string;
    join(timeout?: number): Push;
    leave(timeout?: number): Push;
    push(event: string, payload: Payload, timeout?: number): Push;
    on(event: string, callback: (payload: any) => void): number;
    onError(callback: (reason?: unknown) => void): number;
    onClose(callback: () => void): void;
  }

  export class LongPoll {
    constructor(endPoint: string, protocols?: string[]);
    /** Of the session at the server; null before there is one. */
    token: string | null;
    /** Messages that wait for their request, and those behind one that is under way. */
    currentBatch: string[] | null;
    batchBuffer: string[];
    endpointURL(): string;
    close(code?: number, reason?: string, wasClean?: boolean): void;
  }

  export interface SocketOptions {
    transport?: new (url: string, protocols?: string[]) => unknown;
    params?: Payload | (() => Payload);
    authToken?: string | (() => string);
    timeout?: number;
    heartbeatIntervalMs?: number;
    reconnectAfterMs?: (tries: number) => number;
    rejoinAfterMs?: (tries: number) => number;
  }

  export class Socket {
    constructor(endPoint: string, options?: SocketOptions);
    connect(): void;
    disconnect(callback?: () => void, code?: number, reason?: string): void;
    connectionState(): "connecting" | "open" | "closing" | "closed";
    isConnected(): boolean;
    /** False: it isn't connected. */
    ping(callback: (roundTripMs: number) => void): boolean;
    /** What the `transport` made. */
    conn: { abandon?: () => void } | null;
    channel(topic: string, params?: Payload | (() => Payload)): Channel;
    onOpen(callback: () => void): string;
    onClose(callback: (event: CloseEvent) => void): string;
    onError(callback: (error: unknown) => void): string;
  }
}
