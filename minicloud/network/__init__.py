"""The network service: networks, subnets, ports with their addresses, security groups, as
Network v2.0. It holds the desired state; what a host makes of it is ``hostnet``'s, which this
package never imports.
"""
