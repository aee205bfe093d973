import type * as api from "../index.js";
export interface ChatOptions extends api.ChatOptions {
  toolChoice?: "auto" | "none" | "required" | { name: string };
}
