/**
 * All components, for pages: `import { Button, Table } from "../ui/index.js"`.
 */
export { Icon } from "./icons.js";
export { Button, Checkbox, Field, FilterChips, SearchBox, Segments, Select, Spinner } from "./controls.js";
export {
  Badge,
  CodeBlock,
  CopyButton,
  EmptyState,
  ErrorState,
  KeyValue,
  Label,
  Loading,
  Notice,
  Skeleton,
  Timeago,
  ago,
  bytes,
  duration,
  exactTime,
} from "./show.js";
export { Pager, Table } from "./table.js";
export { Confirm, Dialog, Menu, Tabs, Toasts, Tooltip } from "./overlays.js";
export { Page } from "./page.js";
